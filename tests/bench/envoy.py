# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""How long after a renewal an Envoy serves the new certificate."""

import pathlib
import socket
import ssl
import time

from measure import Samples, deployment, pause, wait_for
from table import Row

ROOT = pathlib.Path(__file__).parents[2]
PATIENCE = 60.0
BETWEEN = 0.001  # seconds, between two handshakes


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program():
    """The one that `./dev test --peers` has installed; None where it has not."""
    found = ROOT.glob("build/peers/python/envoy/lib/python3*/site-packages/envoy/_bin/envoy")
    return next(found, None)


def start(place, binary, port):
    text = (ROOT / "examples/envoy/inbound.yaml").read_text(encoding="utf-8")
    text = text.replace("/run/linchpin/agent.sock", str(place.socket("a")))
    text = text.replace("port_value: 8443 ", f"port_value: {port} ")
    config = place.folder / "envoy.yaml"
    config.write_text(text, encoding="utf-8")
    binary.chmod(0o755)
    return place.start("envoy", [binary, "-c", config, "--disable-hot-restart", "--concurrency",
                                 "1", "--log-level", "warning"])


def served(context, port):
    """The certificate that a handshake shows; None before anybody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as raw:
            with context.wrap_socket(raw) as connection:
                return connection.getpeercert(True)
    except OSError:
        return None


def renewed(context, port, before, sealed):
    """Milliseconds from the agent's beginning to seal a certificate until a handshake shows it."""
    begun = None
    seal = sealed.stat().st_mtime_ns
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        now = served(context, port)
        seen = time.time_ns()
        last = sealed.stat().st_mtime_ns
        if begun is None and last != seal:
            begun = last
        if now is not None and now != before:
            if begun is None:
                raise AssertionError("a certificate was served that the agent had not sealed")
            return now, (seen - begun) / 1e6
        pause(BETWEEN)
    raise AssertionError(f"Envoy served no other certificate within {PATIENCE:.0f} s")


def envoy(how):
    row = Row("envoy", "certificate renewed at the agent → served by Envoy", "ms", "wall",
              most=50.0)
    binary = program()
    if binary is None:
        row.missing = "no Envoy here; ./dev test --peers envoy installs one"
        return [row]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # The server's certificate comes before it asks for the caller's.
    with deployment() as place:
        config = place.folder / "ca.yaml"
        config.write_text("authority:\n  leaf_ttl: 12s\n  backdate: 0s\n", encoding="utf-8")
        place.start_ca("--config", config)
        place.join("a")
        place.identity("/web", "unix:path:" + str(binary.resolve()))
        port = free_port()
        start(place, binary, port)
        last = wait_for("Envoy to serve", lambda: served(context, port))
        took = []
        for _ in range(how.rounds):
            last, milliseconds = renewed(context, port, last,
                                         place.agent_dir("a") / "private/state.sealed")
            took.append(milliseconds)
    row.samples = Samples(took)
    return [row]
