# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A client of the SPIFFE Workload API that is not ours: gRPC's Python, messages from the proto."""

import importlib
import pathlib
import subprocess
import sys
import tempfile

import grpc

from deployment import DEADLINE, ROOT
from grpc_stream import GrpcStream

SVIDS, BUNDLES = "FetchX509SVID", "FetchX509Bundles"
HEADER = ("workload.spiffe.io", "true")


def _messages():
    made = tempfile.mkdtemp(prefix="linchpin-workload-")
    subprocess.run(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={made}",
                    "spiffe/workloadapi.proto"], check=True, cwd=ROOT / "proto")
    sys.path.insert(0, str(pathlib.Path(made) / "spiffe"))
    return importlib.import_module("workloadapi_pb2")


pb = _messages()
RESPONSES = {SVIDS: pb.X509SVIDResponse, BUNDLES: pb.X509BundlesResponse,
             "FetchJWTBundles": pb.JWTBundlesResponse}
UNARY = {"FetchJWTSVID": pb.JWTSVIDResponse, "ValidateJWTSVID": pb.ValidateJWTSVIDResponse}


class Client:
    """One connection."""

    def __init__(self, socket, options=()):
        # Else channels of one process share what connects, and its waiting after failures.
        local = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200),
                 ("grpc.initial_reconnect_backoff_ms", 50)]
        self.channel = grpc.insecure_channel(f"unix://{socket}", options=local + list(options))

    def stream(self, method=SVIDS, metadata=(HEADER,)):
        call = self.channel.unary_stream(
            f"/SpiffeWorkloadAPI/{method}", request_serializer=lambda empty: empty,
            response_deserializer=RESPONSES[method].FromString)
        return GrpcStream(call(b"", metadata=metadata, timeout=5 * DEADLINE, wait_for_ready=True))

    def call(self, method, metadata=(HEADER,)):
        """The status of a unary call that fails."""
        call = self.channel.unary_unary(
            f"/SpiffeWorkloadAPI/{method}", request_serializer=lambda empty: empty,
            response_deserializer=UNARY.get(method, pb.JWTSVIDResponse).FromString)
        try:
            call(b"", metadata=metadata, timeout=DEADLINE)
        except grpc.RpcError as error:
            return error.code(), error.details()
        return grpc.StatusCode.OK, ""

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def certificates(der):
    """Splits DER values that stand one after the other."""
    found = []
    while der:
        assert der[0] == 0x30
        size, head = der[1], 2
        if size & 0x80:
            head = 2 + (size & 0x7f)
            size = int.from_bytes(der[2:head], "big")
        found.append(der[:head + size])
        der = der[head + size:]
    return found
