# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A caller of Envoy's secret discovery that does as it likes: gRPC's Python, messages by name."""

import queue
import subprocess
import tempfile

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from deployment import DEADLINE, ROOT
from grpc_stream import GrpcStream

SERVICE = "/envoy.service.secret.v3.SecretDiscoveryService/"
TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


def _factory():
    pool = descriptor_pool.DescriptorPool()
    with tempfile.NamedTemporaryFile() as made:
        subprocess.run(["protoc", "-I.", "--include_imports", f"--descriptor_set_out={made.name}",
                        "envoy/service/secret/v3/sds.proto",
                        "envoy/extensions/transport_sockets/tls/v3/secret.proto"],
                       check=True, cwd=ROOT / "proto")
        files = descriptor_pb2.FileDescriptorSet.FromString(open(made.name, "rb").read())
    for one in files.file:
        pool.Add(one)
    factory = message_factory.MessageFactory(pool)
    return lambda name: factory.GetPrototype(pool.FindMessageTypeByName(f"envoy.{name}"))


_message = _factory()
Secret = _message("extensions.transport_sockets.tls.v3.Secret")
Request = _message("service.discovery.v3.DiscoveryRequest")
Response = _message("service.discovery.v3.DiscoveryResponse")
DeltaRequest = _message("service.discovery.v3.DeltaDiscoveryRequest")
DeltaResponse = _message("service.discovery.v3.DeltaDiscoveryResponse")


class Channel:
    """One connection."""

    def __init__(self, socket):
        self.channel = grpc.insecure_channel(
            f"unix://{socket}", options=[("grpc.use_local_subchannel_pool", 1)])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def stream(self, method="StreamSecrets", response=Response):
        return Stream(self.channel.stream_stream(
            SERVICE + method, request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString))

    def delta(self):
        return self.stream("DeltaSecrets", DeltaResponse)

    def fetch(self, *names):
        call = self.channel.unary_unary(
            SERVICE + "FetchSecrets", request_serializer=Request.SerializeToString,
            response_deserializer=Response.FromString)
        return call(Request(resource_names=names), timeout=DEADLINE, wait_for_ready=True)


class Stream(GrpcStream):
    """Requests go out when they are said."""

    def __init__(self, call):
        self.asked = queue.Queue()
        self.last = None
        super().__init__(call(iter(self.asked.get, None), timeout=5 * DEADLINE,
                              wait_for_ready=True))

    def say(self, request):
        self.asked.put(request)

    def ask(self, *names, refuse=None, node_bytes=0):
        """A request for these names that accepts, or refuses, the last response."""
        request = Request(resource_names=names, type_url=TYPE)
        if node_bytes:
            request.node.id = "x" * node_bytes
        if self.last is not None:
            request.response_nonce = self.last.nonce
            request.version_info = self.last.version_info
        if refuse is not None:
            request.error_detail.code, request.error_detail.message = 13, refuse
        self.say(request)

    def next(self):
        self.last = super().next()
        return self.last

    def secrets(self):
        """Those of the next response, by name."""
        return secrets(self.next())


def secrets(response):
    found = [Secret.FromString(any.value) for any in response.resources]
    assert all(any.type_url == TYPE for any in response.resources)
    return {secret.name: secret for secret in found}
