# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What is revoked is refused everywhere at once, and who is not at fault goes on by itself."""

import json
import shutil
import socket
import ssl
import subprocess

from deployment import BIN, TRUST_DOMAIN, wait_for

WEB = f"spiffe://{TRUST_DOMAIN}/web"
PAYMENTS = f"spiffe://{TRUST_DOMAIN}/payments"


def events(process):
    lines = [line for line in process.text().splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


def serve_payments(ca):
    """A demonstration service on node a; its port."""
    program = shutil.copy(BIN / "linchpin-demo-service", ca.folder / "payments")
    ca.identity("/payments", f"unix:path:{program}")
    ca.identity("/web", f"unix:path:{BIN / 'linchpin'}")
    ca.out("policy", "allow", "--from", WEB, "--to", PAYMENTS)
    service = ca.start("payments", [program, "--socket", f"unix://{ca.socket('a')}", "--serve", 0])
    port = wait_for("the port", lambda: [e["port"] for e in events(service)
                                         if e["event"] == "listening"])[0]
    return service, port


def fetched(ca, folder):
    wait_for("the certificate", lambda: ca.fetch("a", "--write", folder).returncode == 0)
    return folder


def consumers(ca):
    said = json.loads(ca.run("coverage", "-o", "json", check=False).stdout)
    return [consumer for node in said["nodes"] for consumer in node["consumers"]]


def serial(folder):
    text = subprocess.run(["openssl", "x509", "-in", folder / "chain.pem", "-noout", "-serial"],
                          capture_output=True, text=True, check=True).stdout
    return text.strip().split("=")[1]


def connect(port, folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the service has no DNS name; it judges, here we only hold on
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    raw = socket.create_connection(("127.0.0.1", port), timeout=20)
    return context.wrap_socket(raw)


def is_answered(port, folder):
    try:
        with connect(port, folder) as connection:
            connection.sendall(b"?")
            return connection.recv(1) == b"?"
    except OSError:
        return False


def is_closed(connection):
    try:
        return connection.recv(1) == b""
    except (ConnectionError, ssl.SSLError):
        return True


def test_a_revoked_identity_loses_its_connections_and_has_a_new_certificate_at_once(ca, tmp_path):
    ca.join("a")
    service, port = serve_payments(ca)
    old = fetched(ca, tmp_path / "old")
    wait_for("an answer", lambda: is_answered(port, old))
    before = serial(old)
    live = connect(port, old)
    revoked = ca.json("revoke", "--id", WEB, "--reason", "in a core dump")
    assert is_closed(live)
    wait_for("the reason", lambda: [e for e in events(service) if e["event"] == "no_longer_allowed"
                                    and "core dump" in e.get("detail", "") + e["text"]])
    assert not is_answered(port, old), "what was revoked stays refused"
    wait_for("the service's evidence", lambda: [c for c in consumers(ca) if
                                                c["spiffeId"] == PAYMENTS and
                                                c["evidence"] == "IN_FORCE" and
                                                int(c["trustEpoch"]) >= int(revoked["trustEpoch"])])
    new = tmp_path / "new"
    wait_for("another certificate", lambda: ca.fetch("a", "--write", new).returncode == 0 and
             serial(new) != before)
    wait_for("an answer to the new one", lambda: is_answered(port, new))
    assert WEB in ca.out("revocations") and "in a core dump" in ca.out("revocations")
    assert f"revoked {WEB}" in ca.run("coverage", "--history", check=False).stdout


def test_a_revoked_serial_is_refused_and_no_other(ca, tmp_path):
    ca.join("a")
    _, port = serve_payments(ca)
    first = fetched(ca, tmp_path / "first")
    wait_for("an answer", lambda: is_answered(port, first))
    ca.out("revoke", "--serial", serial(first))
    wait_for("its refusal", lambda: not is_answered(port, first))
    second = tmp_path / "second"
    wait_for("another", lambda: ca.fetch("a", "--write", second).returncode == 0 and
             serial(second) != serial(first))
    wait_for("an answer", lambda: is_answered(port, second))
    done = ca.run("revoke", "--serial", "4000", check=False)
    assert done.returncode == 1 and "log tail" in done.stderr
    assert ca.run("revoke", "--serial", "xyz", check=False).returncode == 2
    assert ca.run("revoke", check=False).returncode == 2


def test_all_that_left_through_a_banned_node_is_refused(ca, tmp_path):
    ca.join("a")
    ca.join("b")
    _, port = serve_payments(ca)
    good = fetched(ca, tmp_path / "good")
    stolen = tmp_path / "stolen"
    wait_for("b's certificate", lambda: ca.fetch("b", "--write", stolen).returncode == 0)
    wait_for("an answer to b", lambda: is_answered(port, stolen))
    told = ca.out("node", "ban", "b", "--revoke")
    assert "is banned" in told and "revoked with trust epoch" in told
    wait_for("the refusal of b", lambda: not is_answered(port, stolen))
    assert is_answered(port, good)
    assert ca.run("revoke", "--key", ca.root_pin(), check=False).returncode == 1
