# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The examples in other languages, as somebody who copies them runs them."""

import pathlib
import shutil
import socket
import ssl

import pytest
import toolchains
from deployment import BIN, wait_for
from mesh import ANYBODY, spiffe_id

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
PYTHON = ["/usr/bin/python3", "-B", EXAMPLES / "python-service/service.py"]


def address(server):
    """Where it listens; it says so once it does."""
    wait_for("the server to listen",
             lambda: "serving on" in server.text() or not server.alive())
    assert server.alive(), server.text()
    return server.text().split("serving on ")[1].split()[0]


def kept_current(node):
    """A directory that the operator's command keeps current."""
    node.identity("/web", ANYBODY)
    directory = node.folder / "tls"
    node.start("fetch", [BIN / "linchpin", "fetch", "--write", directory, "--watch"],
               {"LINCHPIN_AGENT_SOCKET": f"unix://{node.socket('node')}"})
    wait_for("the files", (directory / "current").exists)
    return directory


@pytest.fixture
def files(node):
    return kept_current(node.begin(short_lives=True))


def test_python_service_greets_callers_through_three_certificates(node, files):
    server = node.start("server", [*PYTHON, "serve", files, "127.0.0.1:0", spiffe_id("web")])
    url = f"https://{address(server)}/"
    generations = set()
    while len(generations) < 3:
        code, lines = node.once(*PYTHON, "get", files, url, spiffe_id("web"))
        assert (code, lines) == (0, [f"Hello, {spiffe_id('web')}"])
        generations.add((files / "chain.pem").read_text())
    assert "refused" not in server.text()


def test_python_service_refuses_another_caller_and_another_server(node, files):
    server = node.start("server", [*PYTHON, "serve", files, "127.0.0.1:0", spiffe_id("payments")])
    url = f"https://{address(server)}/"
    code, lines = node.once(*PYTHON, "get", files, url, spiffe_id("web"))
    assert code == 1 and lines == [f"{spiffe_id('web')} may not call this"]
    code, lines = node.once(*PYTHON, "get", files, url, spiffe_id("payments"))
    assert code == 1 and lines == [f"the server is {spiffe_id('web')}, not {spiffe_id('payments')}"]


@pytest.mark.parametrize("bundle", ["", "# nothing\n"])
def test_python_service_does_not_go_on_with_anchors_that_were_replaced(node, files, bundle):
    copy = node.folder / "copy"
    for generation in ("1", "2"):
        shutil.copytree((files / "current").resolve(), copy / generation)
    (copy / "2/bundle.pem").write_text(bundle)
    (copy / "current").symlink_to("1")
    server = node.start("server", [*PYTHON, "serve", copy, "127.0.0.1:0", spiffe_id("web")])
    url = f"https://{address(server)}/"
    assert node.once(*PYTHON, "get", files, url, spiffe_id("web"))[0] == 0
    (copy / "next").symlink_to("2")
    (copy / "next").replace(copy / "current")
    code, lines = node.once(*PYTHON, "get", files, url, spiffe_id("web"))
    assert code == 1 and "Hello" not in "".join(lines)
    assert "refused" in server.text()


@pytest.fixture(scope="session")
def go_service():
    return toolchains.go(EXAMPLES / "go-service")


@pytest.mark.peers
def test_go_service_greets_whom_it_is_told_to(node, go_service):
    node.begin()
    api, web, other = (node.installed(go_service, name) for name in ("api", "web", "other"))
    server = node.start("server", [api, "serve", "127.0.0.1:0", spiffe_id("web")])
    url = f"https://{address(server)}/"
    assert node.once(web, "get", url, spiffe_id("api")) == (0, [f"Hello, {spiffe_id('web')}"])
    code, lines = node.once(other, "get", url, spiffe_id("api"))
    assert code == 1 and "Hello" not in "".join(lines)
    code, lines = node.once(web, "get", url, spiffe_id("other"))
    assert code == 1 and "unexpected ID" in "".join(lines)


def answer(tls, where, session=None):
    """Of a GET: what it says, whether its session was resumed, and the session to resume."""
    host, port = where.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as plain, \
            tls.wrap_socket(plain, session=session) as conn:
        conn.sendall(b"GET / HTTP/1.0\r\n\r\n")
        said = b"".join(iter(lambda: conn.recv(4096), b"")).decode()
        return said, conn.session_reused, conn.session


@pytest.mark.peers
def test_go_service_judges_who_comes_back_anew(node, go_service, files):
    """It resumes no session: Go would not call go-spiffe's checks."""
    server = node.start("server", [node.installed(go_service, "api"), "serve", "127.0.0.1:0",
                                   spiffe_id("web")])
    where = address(server)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    generation = (files / "current").resolve()
    tls.load_cert_chain(generation / "chain.pem", generation / "key.pem")
    tls.load_verify_locations(generation / "bundle.pem")
    said, _, session = answer(tls, where)
    assert f"Hello, {spiffe_id('web')}" in said
    said, resumed, _ = answer(tls, where, session)
    assert f"Hello, {spiffe_id('web')}" in said and not resumed


@pytest.mark.peers
@pytest.mark.parametrize("language", ["go", "python"])
def test_nobody_is_accepted_once_pins_have_expired_that_fail_closed(node, go_service, language):
    """The servers take the bundle that says so; the caller's own anchors are those of before."""
    files = kept_current(node.begin())
    serve = [go_service, "serve"] if language == "go" else [*PYTHON, "serve", files]
    server = node.start("server", [*serve, "127.0.0.1:0", spiffe_id("web")])
    before = node.folder / "before"
    shutil.copytree((files / "current").resolve(), before / "current")
    call = [*PYTHON, "get", before, f"https://{address(server)}/", spiffe_id("web")]
    assert node.once(*call)[0] == 0
    node.publish_pins("--expires", "5s", "--on-expiry", "fail_closed")
    wait_for("the refusal of everybody", lambda: node.once(*call)[0] == 1)
    assert server.alive()
    bundle = files / "bundle.pem"
    wait_for("the reason", lambda: "accepts nobody" in bundle.read_text())
    ssl.create_default_context(cafile=bundle)  # it can be loaded
