# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Who changed what: each change has its record, also across crashes; operators and their roles."""

import json
import subprocess
import threading

import pytest

from deployment import TRUST_DOMAIN, free_port, wait_for


def changes(deployment, *args):
    lines = deployment.out("log", "tail", "--changes", "-n", "100000", "-o", "json", *args)
    return [json.loads(line) for line in lines.splitlines()]


def test_every_change_says_who_what_before_and_after(ca):
    ca.identity("/web", "unix:uid:1")
    ca.run("identity", "update", f"spiffe://{TRUST_DOMAIN}/web", "--ttl", "30m")
    ca.run("identity", "delete", f"spiffe://{TRUST_DOMAIN}/web")
    created, updated, deleted = changes(ca)
    assert [c["method"] for c in (created, updated, deleted)] == [
        "CreateIdentity", "UpdateIdentity", "DeleteIdentity"]
    for change in (created, updated, deleted):
        assert change["who"].startswith("unix:") and change["role"] == "admin"
        assert change["from"].startswith("admin socket, pid ")
        assert f"spiffe://{TRUST_DOMAIN}/web" in change["records"][0]["object"]
    assert created["records"][0]["before"] == "" and deleted["records"][0]["after"] == ""
    assert '"ttl_seconds":1800' in updated["records"][0]["after"]
    assert "unix:uid" not in updated["records"][0]["after"], "only what differs"
    table = ca.out("log", "tail")
    assert "UpdateIdentity" in table and f"spiffe://{TRUST_DOMAIN}/linchpin/ca" in table
    refused = ca.run("identity", "delete", f"spiffe://{TRUST_DOMAIN}/web", check=False)
    assert refused.returncode == 1 and len(changes(ca)) == 3


def test_a_ca_killed_in_a_loop_of_changes_has_a_record_of_each_and_of_nothing_else(ca):
    for round_number in range(4):
        began = threading.Event()
        ended = threading.Event()

        def change():
            for i in range(1000):
                done = ca.run("identity", "create", "--id",
                              f"spiffe://{TRUST_DOMAIN}/r{round_number}/s{i}", "--selector",
                              "unix:uid:1", "--any-node", check=False)
                began.set()
                if ended.is_set() or done.returncode != 0:
                    return

        writers = [threading.Thread(target=change) for _ in range(2)]
        for writer in writers:
            writer.start()
        began.wait(60)
        threading.Event().wait(0.03 * round_number)
        ca.ca.kill()
        ended.set()
        for writer in writers:
            writer.join()
        ca.start_ca()
    made = {i["identityId"] for i in ca.json("identity", "list")["identities"]}
    recorded = [c["records"][0]["object"].split()[-1] for c in changes(ca)]
    assert made and len(recorded) == len(set(recorded))
    assert set(recorded) == made
    assert "changes, head" in ca.out("log", "verify")


def test_a_follower_is_shown_a_change_when_it_is_made(ca):
    follower = ca.start("follower", [*ca.command(), "log", "tail", "--changes", "--follow"])
    ca.identity("/web", "unix:uid:1")
    wait_for("the first change", lambda: "CreateIdentity" in follower.text())
    ca.run("identity", "delete", f"spiffe://{TRUST_DOMAIN}/web")
    wait_for("the next change", lambda: "DeleteIdentity" in follower.text())


# Operators with certificates.

class Operator:
    """The command over the network, as somebody."""

    def __init__(self, deployment, name, trust=()):
        self.deployment = deployment
        self.key = deployment.folder / f"{name}.key"
        self.cert = deployment.folder / f"{name}.pem"
        self.trust = trust or ("--ca-pin", deployment.root_pin())

    def run(self, *args, check=True):
        return self.deployment.run(
            "--ca", f"127.0.0.1:{self.deployment.admin_port}", "--operator-cert", self.cert,
            "--operator-key", self.key, *self.trust, *args, check=check)


@pytest.fixture
def listening(deployment):
    deployment.admin_port = free_port()
    deployment.start_ca("--admin-listen", f"127.0.0.1:{deployment.admin_port}")
    return deployment


def create(deployment, name, role, *extra):
    made = Operator(deployment, name)
    deployment.run("operator", "create", "--name", name, "--role", role, "--key-out", made.key,
                   "--cert-out", made.cert, *extra)
    return made


def test_operators_do_what_their_role_allows_and_are_in_the_log(listening):
    vic = create(listening, "vic", "viewer")
    rita = create(listening, "rita", "registrar")
    assert (vic.key.stat().st_mode & 0o777) == 0o600
    assert vic.run("node", "list").returncode == 0
    refused = vic.run("identity", "create", "--id", f"spiffe://{TRUST_DOMAIN}/web", "--selector",
                      "unix:uid:1", "--any-node", check=False)
    assert refused.returncode == 1
    assert "operator vic has role viewer; identity create needs registrar" in refused.stderr
    assert "--name vic --role registrar --replace" in refused.stderr
    rita.run("identity", "create", "--id", f"spiffe://{TRUST_DOMAIN}/web", "--selector",
             "unix:uid:1", "--any-node")
    assert "node ban needs admin" in rita.run("node", "ban", "a", check=False).stderr
    last = changes(listening)[-1]
    assert (last["who"], last["role"], last["method"]) == ("rita", "registrar", "CreateIdentity")
    assert "127.0.0.1" in last["from"]
    assert vic.run("log", "verify").returncode == 0
    issued = [json.loads(line)["spiffeId"] for line in
              vic.run("log", "tail", "--issued", "-o", "json").stdout.splitlines()]
    assert f"spiffe://{TRUST_DOMAIN}/linchpin/operator/rita" in issued
    assert "an operator's call is refused" in listening.ca.text()


def test_an_operator_renews_itself_and_is_refused_once_deleted(listening):
    ada = create(listening, "ada", "admin", "--ttl", "1h")
    before = ada.cert.read_text()
    ada.run("operator", "renew", "--ttl", "2h")
    assert ada.cert.read_text() != before
    ada.run("operator", "list")
    listening.run("operator", "delete", "ada")
    refused = ada.run("node", "list", check=False)
    assert refused.returncode == 1 and "there is no operator ada (any more)" in refused.stderr
    assert "no operators" in listening.out("operator", "list")
    assert [c["method"] for c in changes(listening)] == [
        "CreateOperator", "DeleteOperator"], "a renewal is in the issuance log"


def test_the_ca_is_judged_before_anything_is_asked_of_it(listening):
    ada = create(listening, "ada", "admin")
    wrong = Operator(listening, "ada", ("--ca-pin", "sha256:" + "A" * 43 + "="))
    assert "linchpin ca pins" in wrong.run("node", "list", check=False).stderr
    unpinned = listening.run("--ca", f"127.0.0.1:{listening.admin_port}", "--operator-cert",
                             ada.cert, "--operator-key", ada.key, "node", "list", check=False)
    assert unpinned.returncode == 2 and "--ca-pin" in unpinned.stderr
    # By the signers' keys.
    signer = listening.folder / "signer.key"
    draft = listening.folder / "draft.json"
    listening.run("pins", "keygen", "--out", signer)
    listening.run("pins", "draft", "--signer", f"{signer}.pub", "--threshold", "1", "--out", draft)
    listening.run("pins", "sign", "--key", signer, draft)
    listening.run("pins", "publish", draft)
    signers = listening.folder / "signers.json"
    signers.write_text(listening.out("pins", "export", "--signers"))
    assert Operator(listening, "ada", ("--signers", signers)).run("ca", "pins").returncode == 0


def test_an_operators_key_may_stay_where_it_was_made(listening):
    ada = Operator(listening, "ada")
    csr = listening.folder / "ada.csr"
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=ada", "-keyout", ada.key,
                    "-out", csr], check=True, capture_output=True)
    ask = ("operator", "create", "--name", "ada", "--role", "viewer", "--csr", "-", "--cert-out",
           "-")
    for wrong in ("", "no request", ada.key.read_text()):
        refused = listening.run(*ask, check=False, text=wrong)
        assert refused.returncode == 1 and "openssl req -new" in refused.stderr
    ada.cert.write_text(listening.run(*ask, text=csr.read_text()).stdout)
    assert ada.run("node", "list").returncode == 0
    both = listening.run("operator", "create", "--name", "eve", "--role", "viewer", "--csr", csr,
                         "--key-out", csr, "--cert-out", "-", check=False)
    assert both.returncode == 2 and "either --key-out" in both.stderr


def test_nothing_is_left_of_an_operator_that_was_refused(listening):
    key = listening.folder / "eve.key"
    done = listening.run("operator", "create", "--name", "eve", "--role", "king", "--key-out", key,
                         "--cert-out", listening.folder / "eve.pem", check=False)
    assert done.returncode == 1 and "viewer, registrar and admin" in done.stderr
    assert not key.exists()
