# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Who holds and enforces a change of the policy."""

import os

import pytest
from deployment import BIN, TRUST_DOMAIN, wait_for

WEB, DB = (f"spiffe://{TRUST_DOMAIN}/{name}" for name in ("web", "db"))


@pytest.fixture
def fleet(ca):
    """Node a, which has /web, and node b, which no policy concerns."""
    ca.join("a")
    ca.join("b")
    ca.out("identity", "create", "--id", WEB, "--selector", f"unix:uid:{os.geteuid()}",
           "--node", "a")
    wait_for("both nodes", lambda: "2 of 2" in ca.run("coverage", check=False).stdout)
    return ca


def policy(deployment, *args):
    return deployment.run("coverage", "--policy", *args, check=False)


def allow(deployment, *args):
    return deployment.json("policy", "allow", "--from", WEB, "--to", DB, *args)["revision"]


def test_a_change_is_waited_for_on_the_nodes_that_it_concerns(fleet):
    revision = allow(fleet, "--wait", "--timeout", "25s")
    done = policy(fleet, "--revision", revision)
    assert done.returncode == 0 and "2 of 2 nodes" in done.stdout, done.stdout
    later = policy(fleet, "--revision", int(revision) + 1000)
    assert later.returncode == 1 and "not there yet" in later.stderr


def test_a_service_has_a_change_when_it_says_what_the_change_says(fleet):
    out, broken = fleet.folder / "tls", fleet.folder / "broken"
    fleet.start("fetch", [BIN / "linchpin", "--socket", f"unix://{fleet.socket('a')}", "fetch",
                          "--write", out, "--watch", "--exec", f"test ! -e {broken}"])
    wait_for("the service", lambda: "1 of 1 services (1 reloaded)" in policy(fleet).stdout)
    broken.touch()
    revision = allow(fleet)
    late = f"nothing shows that {WEB} enforces the rules of now"
    done = wait_for("the service to be late", lambda: [
        done for done in [policy(fleet, "--revision", revision)] if late in done.stdout])[0]
    assert done.returncode == 1 and "1 of 2 nodes, 0 of 1 services" in done.stdout, done.stdout
    broken.unlink()
    wait_for("the change", lambda: policy(fleet).returncode == 0)
    assert "1 of 1 services (1 reloaded)" in policy(fleet).stdout
    fleet.out("policy", "delete", "--from", WEB, "--to", DB)
    wait_for("it to be taken back", lambda: policy(fleet).returncode == 0)


def test_a_service_that_pins_and_policy_reach_at_once_has_both(fleet):
    allow(fleet)
    fleet.start("fetch", [BIN / "linchpin", "--socket", f"unix://{fleet.socket('a')}", "fetch",
                          "--write", fleet.folder / "tls", "--watch", "--exec", "true"])
    wait_for("the service", lambda: "1 of 1 services" in policy(fleet).stdout)
    fleet.out("revoke", "--id", DB)
    wait_for("its trust", lambda: fleet.run("coverage", check=False).returncode == 0)
    assert policy(fleet).returncode == 0, "a change of trust is none of the policy"
