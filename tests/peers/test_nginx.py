# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""nginx from Debian, with the configuration of examples/nginx, over files."""

import http.client
import os
import pathlib
import ssl
import subprocess

import pytest
import toolchains
from deployment import BIN, free_port, wait_for
from mesh import ANYBODY, Thief, spiffe_id

CONFIG = pathlib.Path(__file__).resolve().parents[2] / "examples/nginx/nginx.conf"
GENERATIONS = 4


class Nginx:
    """A node, the files of /web, and nginx as the example has it, but for the port."""

    def __init__(self, node):
        program = toolchains.program("nginx", "/usr/sbin")
        node.begin(short_lives=True)
        node.identity("/web", ANYBODY)
        self.node = node
        self.files = node.folder / "tls"
        self.port = free_port()
        config = CONFIG.read_text()
        assert config.count("127.0.0.1:8443") == 1
        copy = node.folder / "nginx.conf"
        copy.write_text(config.replace("127.0.0.1:8443", f"127.0.0.1:{self.port}"))
        command = [program, "-p", node.folder, "-c", copy]
        self.writer = node.start(
            "files", [BIN / "linchpin", "fetch", "--write", self.files, "--watch", "--exec",
                      " ".join(map(str, [*command, "-s", "reload"]))],
            {"LINCHPIN_AGENT_SOCKET": f"unix://{node.socket('node')}"})
        wait_for("the files", (self.files / "current").exists)
        self.nginx = node.start("nginx", command)
        wait_for("nginx", lambda: (node.folder / "nginx.pid").exists() or not self.nginx.alive())
        assert self.nginx.alive(), self.nginx.text()

    def get(self, chain=None, key=None):
        """One request on a connection of its own -> status, the server's serial."""
        newest = pathlib.Path(os.path.realpath(self.files / "current", strict=True))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(newest / "bundle.pem")
        context.load_cert_chain(chain or newest / "chain.pem", key or newest / "key.pem")
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context,
                                                 timeout=30)
        try:
            connection.connect()
            peer = connection.sock.getpeercert()
            assert ("URI", spiffe_id("web")) in peer["subjectAltName"]
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
            return response.status, peer["serialNumber"]
        finally:
            connection.close()


@pytest.fixture
def nginx(node):
    return Nginx(node)


def test_nginx_serves_through_renewals_without_a_failed_request(nginx):
    served = set()
    requests = 0
    while len(served) < GENERATIONS:
        status, serial = nginx.get()
        assert status == 200
        served.add(serial)
        requests += 1
        assert nginx.writer.alive() and nginx.nginx.alive()
    assert requests > GENERATIONS
    assert "[emerg]" not in nginx.nginx.text()
    wait_for("the evidence", lambda: "RELOADED" in nginx.node.out("coverage", "-o", "json"))


@pytest.mark.parametrize("name", ["its own", "the true issuer's"])
def test_nginx_refuses_a_rogue_intermediate_under_the_true_root(nginx, name):
    assert nginx.get()[0] == 200
    subject = None
    if name != "its own":
        said = subprocess.run(["openssl", "x509", "-in", nginx.files / "chain.pem", "-noout",
                               "-issuer", "-nameopt", "compat"], capture_output=True, text=True,
                              check=True).stdout
        subject = said.strip().removeprefix("issuer=").strip()
    thief = Thief(nginx.node, subject)
    chain, key = thief.certify("web")
    subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", thief.root, "-untrusted", chain,
                    chain], capture_output=True, check=True)  # with the root alone it would pass
    assert nginx.get(chain, key)[0] == 400  # the SSL certificate error, as nginx calls it
    assert nginx.get()[0] == 200
