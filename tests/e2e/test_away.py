# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Nodes that were away: each returns by itself, or is told exactly what is needed."""

import time

import pytest
from deployment import free_port, wait_for
from test_clocks_and_disks import fake, needs_faketime
from test_crash import ME, served
from test_first_contact import publish

SHORT = "authority:\n  node_ttl: 6s\n  leaf_ttl: 6s\n  backdate: 0s\n"


def node(deployment, name):
    nodes = deployment.json("node", "list")["nodes"]
    return next(n for n in nodes if n["nodeId"] == deployment.node_id(name))


def wait_for_coverage(deployment, says="1 of 1 nodes"):
    def whole():
        done = deployment.run("coverage", check=False)
        return done.returncode == 0 and says in done.stdout
    wait_for("coverage", whole)


class Traveller:
    """A node with a service, under a signed set; everything it has lives six seconds."""

    def __init__(self, deployment, signed=True):
        self.deployment = deployment
        config = deployment.folder / "ca.yaml"
        config.write_text(SHORT)
        deployment.start_ca("--config", config)
        self.key = publish(deployment, deployment.folder) if signed else None
        deployment.identity("/web", ME)
        self.agent = deployment.join("a")
        wait_for("the certificate", lambda: served(deployment, "a"))
        wait_for_coverage(deployment)

    def leave(self):
        self.agent.kill()

    def wait_until_expired(self):
        wait_for("its certificate to expire",
                 lambda: int(node(self.deployment, "a")["certificateExpiresAt"]) < time.time())

    def come_back(self, *args):
        self.agent = self.deployment.start_agent("a", *args)

    def wait_for_return(self, deadline=None):
        wait_for("its return", lambda: node(self.deployment, "a")["connected"], deadline)
        wait_for("the service's certificate", lambda: served(self.deployment, "a"))
        wait_for_coverage(self.deployment)
        assert not node(self.deployment, "a")["needs"]

    def sign(self, file, *keys):
        for key in keys or (self.key,):
            self.deployment.out("pins", "sign", "--key", key, file)
        self.deployment.out("pins", "publish", file)

    def change_signer(self):
        """By a set that the signer before and the next one signed."""
        before, self.key = self.key, self.deployment.folder / f"{time.monotonic_ns()}.key"
        self.deployment.out("pins", "keygen", "--out", self.key)
        draft = self.draft("pins", "draft", "--signer", self.key, "--threshold", "1")
        self.sign(draft, before, self.key)

    def draft(self, *command):
        file = self.deployment.folder / f"{time.monotonic_ns()}.json"
        self.deployment.out(*command, "--out", file)
        return file

    def rotate(self, what):
        """From the first step to the last, without this node."""
        rotate = ("rotate",)
        self.deployment.out(*rotate, "prepare", "--what", what)
        self.deployment.out(*rotate, "distribute")
        self.sign_drafted()
        self.deployment.out(*rotate, "activate", "--except", "a", "--wait")
        self.deployment.out(*rotate, "drain", "--wait")
        self.deployment.out(*rotate, "drop")
        self.sign_drafted()
        wait_for("the end", lambda: self.deployment.json("rotate", "status")["step"] == "DONE")

    def sign_drafted(self):
        if self.key is not None:
            self.sign(self.draft("rotate", "draft"))

    def issuers(self):
        return {a["spkiSha256"]: a["state"]
                for a in self.deployment.json("ca", "pins")["authorities"]}


@pytest.fixture
def traveller(deployment):
    return Traveller(deployment)


def test_for_a_moment(traveller):
    traveller.leave()
    traveller.deployment.identity("/more", ME)
    traveller.sign(traveller.draft("pins", "draft"))
    traveller.come_back()
    traveller.wait_for_return()
    assert node(traveller.deployment, "a")["pinSetVersion"] == "2"
    wait_for("what was registered meanwhile",
             lambda: "/more" in traveller.deployment.fetch("a", "-o", "json").stdout)


def test_longer_than_its_certificate(traveller):
    traveller.leave()
    traveller.wait_until_expired()
    traveller.come_back()
    traveller.wait_for_return()
    assert node(traveller.deployment, "a")["attestedBy"] == "expired_certificate"


def test_through_the_rotation_of_an_issuer(traveller):
    traveller.leave()
    before = traveller.issuers()
    traveller.rotate("issuer")
    assert "retired" in traveller.issuers().values() and "retired" not in before.values()
    traveller.come_back()
    traveller.wait_for_return()
    assert node(traveller.deployment, "a")["pinSetVersion"] == "3"


def test_through_the_rotation_of_the_root(traveller):
    traveller.leave()
    root = traveller.deployment.root_pin()
    traveller.rotate("root")
    assert traveller.deployment.root_pin() != root
    traveller.come_back()
    traveller.wait_for_return()


def test_through_two_changes_of_the_signer(traveller):
    traveller.leave()
    traveller.change_signer()
    traveller.change_signer()
    traveller.wait_until_expired()
    traveller.come_back()
    traveller.wait_for_return()
    assert node(traveller.deployment, "a")["pinSetVersion"] == "3"


def test_through_a_change_of_the_signer_and_of_the_root(traveller):
    traveller.leave()
    traveller.change_signer()
    traveller.rotate("root")
    traveller.change_signer()
    traveller.come_back()
    traveller.wait_for_return()
    assert node(traveller.deployment, "a")["pinSetVersion"] == "5"


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "set zero"])
def test_through_a_failover(deployment, signed):
    traveller = Traveller(deployment, signed)
    traveller.leave()
    before = traveller.issuers()
    deployment.out("failover", "--except", "a")
    changed = {pin for pin, state in traveller.issuers().items() if before.get(pin) != state}
    assert len(changed) >= 2, "the active issuer and the backup"
    traveller.wait_until_expired()
    traveller.come_back()
    traveller.wait_for_return()


def test_an_agent_that_was_cut_off_but_never_stopped(traveller):
    """What it holds of the CA is as old as what a stopped one has on its disk."""
    ca = traveller.deployment
    config, real = ca.folder / "ca.yaml", ca.ca_port
    ca.ca.kill()
    ca.ca_port = free_port()
    ca.start_ca("--config", config)
    traveller.rotate("root")
    ca.ca.kill()
    ca.ca_port = real
    ca.start_ca("--config", config)
    assert traveller.agent.alive()
    traveller.wait_for_return(deadline=150)  # it looks for sets once a minute at last


def test_through_a_rotation_under_set_zero_it_is_told_which_pin_it_needs(deployment):
    traveller = Traveller(deployment, signed=False)
    traveller.leave()
    traveller.rotate("issuer")
    traveller.come_back()
    wait_for("what it needs", lambda: "--ca-pin sha256:" in traveller.agent.text())
    line = [t for t in traveller.agent.text().splitlines() if "--ca-pin sha256:" in t][-1]
    pin = line.split("--ca-pin ")[1].split()[0].strip('",;.)')
    assert pin in deployment.out("ca", "pins"), "the pin that an operator compares with"
    traveller.agent.kill()
    traveller.come_back("--ca-pin", pin)
    traveller.wait_for_return()


def test_while_the_ca_was_restarted_and_its_trust_changed(ca, tmp_path):
    ca.join("a")
    gone = ca.join("b")
    wait_for_coverage(ca, "2 of 2 nodes")
    gone.kill()
    publish(ca, tmp_path)
    wait_for("all but one", lambda: "1 of 2 nodes" in ca.run("coverage", check=False).stdout)
    ca.ca.kill()
    ca.start_ca()
    wait_for("the one that is there", lambda: "1 of 2 nodes" in
             ca.run("coverage", check=False).stdout)
    done = ca.run("coverage", check=False)
    assert done.returncode == 1 and "pin set 1" in done.stdout, done.stdout
    assert "b" in done.stdout and "counts until" in done.stdout
    ca.start_agent("b")
    wait_for_coverage(ca, "2 of 2 nodes")
    wait_for("its record", lambda: ca.run("coverage", "--history", check=False).returncode == 0)


def revoke_own_certificate(ca, name):
    serial = [line for line in ca.out("log", "tail", "--issued").splitlines()
              if f"/linchpin/node/{name}" in line][-1].split("serial ")[1].split()[0]
    ca.out("revoke", "--serial", serial)


def test_with_its_own_certificate_revoked_and_a_token_at_hand_it_returns(ca):
    agent = ca.join("a")
    wait_for_coverage(ca)
    revoke_own_certificate(ca, "a")
    wait_for("the end of the stream", lambda: "is revoked" in agent.text())
    wait_for("its return", lambda: node(ca, "a")["attestedBy"] == "join_token" and
             node(ca, "a")["connected"])
    wait_for_coverage(ca)


def test_with_its_own_certificate_revoked_and_no_token_it_says_that_it_needs_one(ca):
    agent = ca.join("a")
    wait_for_coverage(ca)
    token = ca.folder / "token-a"
    token.unlink()
    revoke_own_certificate(ca, "a")
    wait_for("what it needs", lambda: "give its agent a join token" in agent.text())
    token.write_text(ca.out("node", "token", "--node", "a"))
    wait_for("its return", lambda: node(ca, "a")["connected"], deadline=150)
    wait_for_coverage(ca)


def test_one_that_was_banned_is_told_so(traveller):
    traveller.leave()
    traveller.deployment.out("node", "ban", "a")
    traveller.wait_until_expired()
    traveller.come_back()
    wait_for("why it stays away", lambda: "is banned" in traveller.agent.text())
    assert traveller.agent.alive()


@needs_faketime
def test_longer_than_the_grace_it_is_told_what_it_needs(deployment):
    deployment.start_ca()
    agent = deployment.join("a")
    wait_for_coverage(deployment)
    agent.kill()
    deployment.ca.kill()
    deployment.env = fake("+9d")
    deployment.start_ca()
    assert "counts no more since" in deployment.run("coverage").stdout
    again = deployment.start_agent("a")
    wait_for("what it needs", lambda: "give its agent a join token" in again.text())
    assert "a join token" in node(deployment, "a")["needs"]
    again.kill()
    token = deployment.folder / "token-a"
    token.write_text(deployment.out("node", "token", "--node", "a"))
    deployment.start_agent("a", "--join-token-file", token)
    wait_for("its return", lambda: node(deployment, "a")["connected"])
