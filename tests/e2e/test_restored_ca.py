# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A CA whose store was put back from a copy: nodes know more of it than it does itself."""

import json
import shutil
import time

import pytest
from deployment import TRUST_DOMAIN, wait_for
from runbook import Runbook
from test_away import node, wait_for_coverage
from test_crash import ME, served

RUNBOOK = Runbook("restored-ca")
LIVES = "authority:\n  node_ttl: 60s\n  leaf_ttl: 60s\n  backdate: 0s\n"
VICTIM = f"spiffe://{TRUST_DOMAIN}/victim"


def copy_tree(source, target):
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.sock"))


class Restored:
    """Three nodes five epochs after the copy that the CA then runs on; one of them is away."""

    def __init__(self, deployment):
        self.deployment = deployment
        deployment.start_ca()
        deployment.identity("/probe", ME)
        self.agents = {name: deployment.join(name) for name in ("a", "b", "c")}
        for name in self.agents:
            wait_for("a service", lambda name=name: served(deployment, name))
        wait_for_coverage(deployment, "3 of 3 nodes")
        deployment.ca.kill()
        copy_tree(deployment.ca_dir, deployment.folder / "copy")
        deployment.start_ca()
        self.copied = self.epoch()
        for number in range(5):
            self.revoke(f"/nobody-{number}")
        wait_for_coverage(deployment, "3 of 3 nodes")
        self.agents["c"].kill()
        deployment.ca.kill()
        shutil.rmtree(deployment.ca_dir)
        copy_tree(deployment.folder / "copy", deployment.ca_dir)
        deployment.start_ca()

    def epoch(self):
        return int(json.loads(self.deployment.run("coverage", "-o", "json", check=False).stdout)
                   ["epoch"])

    def revoke(self, path):
        self.deployment.out("revoke", "--id", f"spiffe://{TRUST_DOMAIN}{path}")

    def denied(self, name):
        """What a service of the node refuses."""
        context = json.loads(self.deployment.fetch(name, "-o", "json").stdout or "{}")
        return [entry.get("spiffeId") for domain in context.get("trustDomains", [])
                for entry in domain.get("revocations", [])]

    def coverage(self):
        return self.deployment.run("coverage", check=False)


@pytest.fixture
def restored(deployment):
    return Restored(deployment)


def test_what_is_newer_is_kept_until_an_operator_says_so_and_then_all_is_taken(restored):
    ca = restored.deployment
    wait_for("the nodes to say so", lambda: all(
        "linchpin ca restored" in node(ca, name).get("refusedTrust", "") for name in ("a", "b")))
    assert restored.epoch() == restored.copied
    done = restored.coverage()
    assert done.returncode == 1 and "linchpin ca restored" in done.stdout, done.stdout
    wait_for("the CA to say so", lambda: "put back from a copy" in ca.ca.text())
    restored.revoke("/victim")
    assert VICTIM not in restored.denied("a")

    said = ca.out("ca", "restored")
    assert "2 are connected" in said, said
    wait_for_coverage_of_two(restored)
    assert VICTIM in restored.denied("a") and VICTIM in restored.denied("b")
    ca.out("failover", "--now")
    wait_for_coverage_of_two(restored)
    assert "DeclareRestored" in ca.out("log", "tail", "-n", "20")


def wait_for_coverage_of_two(restored):
    wait_for("those who are here", lambda: "2 of 3 nodes" in restored.coverage().stdout)


def test_a_node_that_was_away_is_not_counted_by_the_number_that_it_holds(restored):
    """The CA has counted on to the very epoch that the node holds, which is another state."""
    ca = restored.deployment
    ca.out("ca", "restored")
    restored.revoke("/victim")
    while restored.epoch() < restored.copied + 5:
        restored.revoke(f"/somebody-{restored.epoch()}")
    wait_for_coverage_of_two(restored)
    assert not restored.denied("c")
    restored.agents["c"] = ca.start_agent("c")
    wait_for("its service to come back", lambda: served(ca, "c"))
    wait_for_coverage(ca, "3 of 3 nodes")
    assert VICTIM in restored.denied("c"), "counted, and does not have it"


def test_without_a_word_equal_numbers_are_not_taken_for_the_same_state(restored):
    """Nobody said that it was restored, and it was busy: the nodes take its state in the end."""
    ca = restored.deployment
    restored.revoke("/victim")
    while restored.epoch() < restored.copied + 5:
        restored.revoke(f"/somebody-{restored.epoch()}")
    wait_for_coverage_of_two(restored)
    ca.start_agent("c")
    wait_for("its service to come back", lambda: served(ca, "c"))
    wait_for_coverage(ca, "3 of 3 nodes")
    for name in restored.agents:
        assert VICTIM in restored.denied(name)


class Renewed:
    """A copy; then node a made another key, and node late joined; then the copy was put back."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.config = deployment.folder / "ca.yaml"
        self.config.write_text(LIVES)
        deployment.start_ca("--config", self.config)
        deployment.identity("/probe", ME)
        self.agents = {"a": deployment.join("a")}
        wait_for("a service", lambda: served(deployment, "a"))
        deployment.ca.kill()
        copy_tree(deployment.ca_dir, deployment.folder / "copy")
        deployment.start_ca("--config", self.config)
        self.agents["late"] = deployment.join("late")
        wait_for("a service", lambda: served(deployment, "late"))
        first = node(deployment, "a")["certificateExpiresAt"]
        wait_for("another key", lambda: node(deployment, "a")["certificateExpiresAt"] != first)
        deployment.ca.kill()
        shutil.rmtree(deployment.ca_dir)
        copy_tree(deployment.folder / "copy", deployment.ca_dir)
        # What was issued in the second of its start counts as issued by it.
        lost = int(time.time())
        wait_for("the next second", lambda: int(time.time()) > lost)
        deployment.start_ca("--config", self.config)
        RUNBOOK.run("see", deployment)

    def is_refused(self, name):
        why = {"a": "has attested with another key", "late": "is not known"}[name]
        wait_for(f"{name} to be refused", lambda: why in self.agents[name].text())


@pytest.fixture
def renewed(deployment):
    return Renewed(deployment)


def test_nodes_that_renewed_or_joined_since_are_taken_by_what_they_show(renewed):
    ca = renewed.deployment
    renewed.is_refused("a")
    RUNBOOK.run("say", ca)
    wait_for_coverage(ca, "2 of 2 nodes")
    assert ca.ca.text().count("was taken by a certificate") <= 2
    log = ca.out("log", "tail", "-n", "20")
    assert "DeclareRestored" in log and "take" in log, log
    ca.out("revoke", "--id", VICTIM)
    wait_for_coverage(ca, "2 of 2 nodes")
    assert not renewed.agents["a"].popen.poll()
    done = RUNBOOK.run("gates", ca)
    assert "put back from a copy" in done.stdout, done.stdout


def test_without_the_flag_each_needs_a_token(renewed):
    ca = renewed.deployment
    RUNBOOK.run("ban", ca, NODE="gone")  # which the copy does not know
    assert node(ca, "gone")["state"] == "banned"
    RUNBOOK.run("say without", ca)
    for name in ("a", "late"):
        renewed.is_refused(name)
        RUNBOOK.run("token", ca, NODE=name)
        renewed.agents[name].kill()
        ca.start_agent(name, "--ca-pin", ca.root_pin(), "--join-token-file",
                       ca.folder / f"token-{name}")
    wait_for_coverage(ca, "2 of 2 nodes")
    assert "was taken by a certificate" not in ca.ca.text()


def test_each_command_of_the_runbook_was_run():
    RUNBOOK.each_was_run()
