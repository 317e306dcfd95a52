# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Who may include whom. A path belongs to the longest room that is a prefix of its directory."""

BASE = {"base"}
X509 = BASE | {"x509"}
TRUST = X509 | {"trust"}
SYNC = TRUST | {"sync"}
SHARED = SYNC | {"rpc"}
EVERYTHING = {"*"}

# room -> the rooms it may include besides itself and proto/.
ALLOWED = {
    "proto": set(),
    "base": set(),
    "x509": BASE,
    "trust": X509,
    "sync": TRUST,
    "rpc": TRUST,
    "kube": BASE,
    "ca/core": SYNC | {"ca/store"},  # the records, as store.h declares them
    "ca/store": X509,
    "ca/keys": X509,
    "ca/log": X509,
    "ca/attest": TRUST | {"kube"},
    "ca/kubernetes": TRUST | {"kube", "ca/core"},
    "ca/server": SHARED | {"ca/core", "ca/store", "ca/keys", "ca/log", "ca/attest"},
    "ca": SHARED | {"kube", "ca/kubernetes", "ca/core",
           "ca/store", "ca/keys", "ca/log", "ca/attest", "ca/server"},
    "agent/core": SYNC,
    "agent/attest": TRUST | {"kube"},
    "agent/deliver": TRUST,
    "agent/server": SHARED | {"agent/core", "agent/attest", "agent/deliver"},
    "agent": SHARED | {"kube", "agent/core", "agent/attest", "agent/deliver", "agent/server"},
    "sdk": SHARED,
    "cli": SHARED,
    "examples": {"sdk"},
    "demo": {"sdk"},
    "tests": EVERYTHING,
}

# Where a library may be included: its prefix in angle brackets -> rooms.
GRPC = {"rpc", "ca/server", "agent/server", "sdk", "cli", "examples", "tests"}
LIBRARIES = {
    "openssl/": {"x509", "sdk", "examples", "demo", "tests"},
    "grpcpp/": GRPC,
    "grpc/": GRPC,
    "curl/": {"kube"},
}
# Generated service stubs are gRPC too.
GRPC_STUB = ".grpc.pb.h"

# Rooms of implementations: only mains (and the room itself, and tests) include more than the seam.
SEAMS = {
    "ca/store": {"ca/store/store.h"},
    "ca/keys": {"ca/keys/key_manager.h"},
    "ca/attest": {"ca/attest/node_verifier.h"},
    "agent/attest": {"agent/attest/workload_attestor.h"},
}

# Calls that reach for the world, allowed in base/ alone.
WORLDLY = [
    "absl::Now(", "absl::SleepFor(", "system_clock", "sleep_for", "sleep_until", "random_device",
    "usleep(", "nanosleep(", "gettimeofday(", "clock_gettime(", "time(nullptr)", "sleep(",
]


def room_of(path):
    """`ca/core/x.cc` -> `ca/core`; a path of no room -> None."""
    parts = path.split("/")[:-1]
    for size in range(len(parts), 0, -1):
        room = "/".join(parts[:size])
        if room in ALLOWED:
            return room
    return None


def room_of_include(target):
    if target.startswith(("linchpin/", "envoy/", "spiffe/")):
        return "proto"
    return room_of(target)
