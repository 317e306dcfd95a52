# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Issuers are replaced under traffic, and not before everybody trusts the new one."""

import json
import signal

import pytest
from deployment import BIN, TRUST_DOMAIN, copy_program, wait_for
from test_first_contact import publish

# Everything expires within a test; no backdating, so that lives are as short as they say.
SHORT_LIVES = "authority:\n  node_ttl: 12s\n  leaf_ttl: 10s\n  backdate: 0s\n"
# Long enough for an agent that is away for a moment.
LONGER_LIVES = "authority:\n  node_ttl: 40s\n  leaf_ttl: 40s\n  backdate: 0s\n"


class Service:
    """A copy of the demonstration's service on a node, registered by its path."""

    def __init__(self, deployment, node, name):
        self.deployment, self.node, self.name = deployment, node, name
        self.id = f"spiffe://{TRUST_DOMAIN}/{name}"
        self.program = copy_program(BIN / "linchpin-demo-service", deployment.folder / name)
        deployment.identity(f"/{name}", f"unix:path:{self.program}")
        self.process = None

    def start(self, *args):
        self.process = self.deployment.start(
            self.name, [self.program, "--socket", f"unix://{self.deployment.socket(self.node)}",
                        *args])
        return self

    def events(self, kind):
        lines = self.process.text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in events if event["event"] == kind]

    def counts(self):
        return (self.events("counts") or [{"ok": 0, "failed": 0}])[-1]


class Mesh:
    """A CA, an agent on each of two nodes, a service on each, one calling the other."""

    def __init__(self, deployment, config=SHORT_LIVES):
        self.deployment = deployment
        self.config = deployment.folder / "ca.yaml"
        self.config.write_text(config)
        self.start_ca()
        self.agents = {name: deployment.join(name) for name in ("a", "b")}
        payments = Service(deployment, "b", "payments")
        web = Service(deployment, "a", "web")
        deployment.out("policy", "allow", "--from", web.id, "--to", payments.id)
        self.payments = payments.start("--serve", "0")
        wait_for("the server", lambda: payments.events("listening"))
        port = payments.events("listening")[0]["port"]
        self.web = web.start("--call", f"127.0.0.1:{port}", "--expect", payments.id)
        wait_for("traffic", lambda: web.counts()["ok"] > 20)

    def start_ca(self):
        self.deployment.start_ca("--config", self.config)

    def rotate(self, *args, check=True):
        return self.deployment.run("rotate", *args, check=check)

    def status(self):
        return self.deployment.json("rotate", "status")

    def active_issuer(self):
        authorities = self.deployment.json("ca", "pins")["authorities"]
        return [a for a in authorities if a["kind"] == "issuer" and a["state"] == "active"][0]

    def served_by(self, node):
        """The pin of the key that the newest entry of the log of a node was issued with."""
        lines = self.deployment.out("log", "tail", "--issued", "-o", "json").splitlines()
        entries = [json.loads(line) for line in lines]
        own = [e for e in entries if e["spiffeId"] == self.deployment.node_id(node)]
        return own[-1]["issuerKeySha256"]

    def nothing_was_refused(self):
        """More calls succeed, and none has failed since the begin."""
        before = self.web.counts()["ok"]
        wait_for("more traffic", lambda: self.web.counts()["ok"] > before)
        counts = self.web.counts()
        assert counts["failed"] == 0, self.web.process.text()[-2000:]
        assert not self.payments.events("refused"), self.payments.events("refused")[-1]


@pytest.fixture
def mesh(deployment):
    return Mesh(deployment)


@pytest.fixture
def patient_mesh(deployment):
    return Mesh(deployment, LONGER_LIVES)


def test_an_issuer_is_rotated_under_traffic_and_nobody_is_refused(mesh):
    old = mesh.active_issuer()
    mesh.rotate("prepare", "--what", "issuer", "--on-deadline", "hold")
    assert mesh.status()["step"] == "PREPARED"
    assert mesh.active_issuer() == old
    mesh.rotate("distribute", "--wait")
    mesh.rotate("activate")
    new = mesh.active_issuer()
    assert new["spkiSha256"] != old["spkiSha256"]
    refused = mesh.rotate("drop", check=False)
    assert refused.returncode == 1 and "rotate status" in refused.stderr
    closed = mesh.rotate("drain", check=False)
    assert closed.returncode == 1 and "valid until" in closed.stderr, closed.stderr
    mesh.rotate("drain", "--wait")
    assert mesh.served_by("a") == mesh.served_by("b") == new["spkiSha256"]
    mesh.nothing_was_refused()
    mesh.rotate("drop", "--wait")
    wait_for("the end", lambda: mesh.status()["step"] == "DONE")
    states = {a["spkiSha256"]: a["state"]
              for a in mesh.deployment.json("ca", "pins")["authorities"]}
    assert states[old["spkiSha256"]] == "retired" and states[new["spkiSha256"]] == "active"
    mesh.nothing_was_refused()
    trusted = mesh.deployment.json("bundle", "show")
    assert old["spkiSha256"] not in trusted["declaredIssuers"]
    assert new["spkiSha256"] in trusted["declaredIssuers"]
    assert mesh.deployment.join("c").alive()
    wait_for("a newcomer", lambda: "3 of 3" in mesh.deployment.run("coverage", check=False).stdout)


def test_a_stopped_agent_closes_the_gate_and_is_named(patient_mesh):
    mesh = patient_mesh
    mesh.agents["b"].popen.send_signal(signal.SIGSTOP)
    mesh.rotate("prepare", "--what", "issuer")
    mesh.rotate("distribute")
    refused = mesh.rotate("activate", check=False)
    assert refused.returncode == 1
    for said in (mesh.deployment.node_id("b"), "linchpin coverage", "--except", "last seen"):
        assert said in refused.stderr, refused.stderr
    assert mesh.deployment.node_id("a") not in refused.stderr
    shown = mesh.rotate("status").stdout
    assert "waits for" in shown and mesh.deployment.node_id("b") in shown
    mesh.agents["b"].popen.send_signal(signal.SIGCONT)
    mesh.rotate("activate", "--wait", "--timeout", "60s")
    mesh.nothing_was_refused()


def sign_and_publish(mesh, key):
    """The set that the rotation waits for."""
    draft = mesh.deployment.folder / "pins.json"
    mesh.rotate("draft", "--out", draft)
    mesh.deployment.out("pins", "sign", "--key", key, draft)
    mesh.deployment.out("pins", "publish", draft)


def kill_ca(mesh):
    before = mesh.status()
    mesh.deployment.ca.kill()
    mesh.start_ca()
    after = mesh.status()
    assert (after["step"], after["newPins"]) == (before["step"], before["newPins"])


def test_a_root_is_rotated_under_signed_sets_though_the_ca_is_killed_at_every_step(mesh):
    refused = mesh.rotate("prepare", "--what", "root", check=False)
    assert refused.returncode == 1 and "pins publish" in refused.stderr
    key = publish(mesh.deployment, mesh.deployment.folder)
    old_root = mesh.deployment.root_pin()
    mesh.rotate("prepare", "--what", "root")
    kill_ca(mesh)
    mesh.rotate("distribute")
    assert mesh.status()["step"] == "AWAITING_SIGNATURES_TO_DISTRIBUTE"
    kill_ca(mesh)
    sign_and_publish(mesh, key)
    assert len(mesh.deployment.json("bundle", "show")["anchors"]) == 2
    kill_ca(mesh)
    mesh.rotate("activate", "--wait")
    kill_ca(mesh)
    mesh.rotate("drain", "--wait")
    assert mesh.deployment.root_pin() != old_root
    kill_ca(mesh)
    mesh.rotate("drop")
    assert mesh.status()["step"] == "AWAITING_SIGNATURES_TO_DROP"
    sign_and_publish(mesh, key)
    kill_ca(mesh)
    wait_for("the end", lambda: mesh.status()["step"] == "DONE")
    assert len(mesh.deployment.json("bundle", "show")["anchors"]) == 1
    mesh.nothing_was_refused()


def test_what_was_activated_is_taken_back_under_traffic(mesh):
    old = mesh.active_issuer()
    mesh.rotate("prepare", "--what", "issuer")
    mesh.rotate("distribute")
    mesh.rotate("activate", "--wait")
    new = mesh.active_issuer()["spkiSha256"]
    wait_for("a certificate of the new issuer", lambda: mesh.served_by("a") == new)
    mesh.rotate("abort")
    assert mesh.active_issuer()["spkiSha256"] == old["spkiSha256"]
    wait_for("a certificate of the old issuer", lambda: mesh.served_by("a") == old["spkiSha256"])
    closed = mesh.rotate("abort", check=False)
    assert closed.returncode == 1 and "valid until" in closed.stderr
    wait_for("the new issuer to be withdrawn",
             lambda: mesh.rotate("abort", check=False).returncode == 0)
    mesh.rotate("abort")
    assert mesh.status()["step"] == "ABORTED"
    mesh.nothing_was_refused()


def test_a_node_that_was_left_out_comes_back_until_the_old_issuer_is_drained(patient_mesh):
    mesh = patient_mesh
    mesh.agents["b"].kill()
    mesh.rotate("prepare", "--what", "issuer")
    mesh.rotate("distribute")
    left_out = mesh.rotate("activate", "--except", "b", "-o", "json")
    assert json.loads(left_out.stdout)["except"] == [mesh.deployment.node_id("b")]
    mesh.deployment.start_agent("b")
    wait_for("the node to hear of it",
             lambda: "2 of 2" in mesh.deployment.run("coverage", check=False).stdout)
    mesh.rotate("drain", "--wait")
    mesh.rotate("drop", "--wait")
    mesh.nothing_was_refused()


def test_every_step_under_signed_sets_is_taken_back_and_nobody_is_refused(mesh):
    """But the last: `done` is taken back by another rotation."""
    key, deployment = publish(mesh.deployment, mesh.deployment.folder), mesh.deployment
    bystander = deployment.join("c")
    mesh.rotate("prepare", "--what", "issuer")
    mesh.rotate("distribute")
    assert mesh.status()["step"] == "AWAITING_SIGNATURES_TO_DISTRIBUTE"
    mesh.rotate("abort")
    assert mesh.status()["step"] == "ABORTED"
    mesh.rotate("prepare", "--what", "issuer")
    sign_and_publish(mesh, key)
    mesh.rotate("activate", "--wait")
    mesh.rotate("drain", "--wait")
    mesh.rotate("abort")
    assert mesh.status()["step"] == "ACTIVATED"
    mesh.rotate("drain")
    mesh.rotate("drop")
    assert mesh.status()["step"] == "AWAITING_SIGNATURES_TO_DROP"
    mesh.rotate("abort")
    assert mesh.status()["step"] == "DRAINED"
    mesh.rotate("drop")
    bystander.popen.send_signal(signal.SIGSTOP)  # or it would be done by itself
    sign_and_publish(mesh, key)
    assert mesh.status()["step"] == "DROPPED"
    mesh.rotate("abort")
    assert mesh.status()["step"] == "AWAITING_SIGNATURES_TO_RESTORE"
    sign_and_publish(mesh, key)
    assert mesh.status()["step"] == "DRAINED"
    bystander.popen.send_signal(signal.SIGCONT)
    mesh.rotate("drop")
    sign_and_publish(mesh, key)
    wait_for("the end", lambda: mesh.status()["step"] == "DONE")
    done = mesh.rotate("abort", check=False)
    assert done.returncode == 1 and "no rotation is under way" in done.stderr
    mesh.nothing_was_refused()
    for event in mesh.status()["history"]:
        assert event["by"].startswith(("unix:", "linchpin-ca")), event
        assert int(event["gate"]["nodes"]) == 3, event
    for shown in (mesh.status(), deployment.json("coverage")):
        assert shown["backups"][0]["canaryGood"] >= 2, shown


def test_a_rotation_proceeds_at_its_deadline_where_it_is_told_to(deployment):
    config = deployment.folder / "ca.yaml"
    config.write_text(SHORT_LIVES + "  issuer_ttl: 60s\n")
    deployment.start_ca("--config", config)
    agents = [deployment.join(name) for name in ("a", "b")]
    wait_for("both", lambda: "2 of 2" in deployment.run("coverage", check=False).stdout)
    agents[1].popen.send_signal(signal.SIGSTOP)
    deployment.out("rotate", "prepare", "--what", "issuer")
    deployment.out("rotate", "distribute")
    assert deployment.run("rotate", "activate", check=False).returncode == 1
    told = deployment.out("rotate", "on-deadline", "proceed")
    assert "then proceed" in told and "on_deadline is proceed from now on" in told
    wait_for("the deadline",
             lambda: deployment.json("rotate", "status")["step"] == "ACTIVATED")
    last = deployment.json("rotate", "status")["history"][-1]
    assert last["by"] == "linchpin-ca" and "the deadline has come" in last["note"]
    agents[1].popen.send_signal(signal.SIGCONT)
