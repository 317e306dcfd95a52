# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Services in Java, over java-spiffe and JSSE: what they get of an agent, and what they enforce.

Each cell of docs/foreign-clients.md that speaks of Java is one of these tests.
"""

import pytest
from deployment import wait_for
from mesh import ANYBODY, Thief, spiffe_id

pytestmark = pytest.mark.peers


# Whose check of certificates it is. java-spiffe hands the JDK the whole chain, which must then end
# at an anchor; the JDK's own trust managers end it at the first anchor on the way.
BOTH_CHECKS = pytest.mark.parametrize("check, agent", [
    ("spiffe", ("--workload-api-bundle", "roots")), ("pkix", ())], ids=["java-spiffe", "jdk"])


@pytest.fixture
def java(node, java_peer):
    """Starts a Java program; every one on the node is `api`."""
    return lambda name, *args: node.client(name, *java_peer, *args)


def begin(node, agent, **more):
    node.begin(agent=agent, **more)
    node.identity("/api", ANYBODY)


@BOTH_CHECKS
def test_server_and_caller_know_each_other_through_renewals(node, java, check, agent):
    begin(node, agent, short_lives=True)
    server = java("server", check, "serve", spiffe_id("api"))
    caller = java("caller", check, "call", spiffe_id("api"), server.wait("listening")[0])
    wait_for("three certificates of the caller", lambda: caller.said("failed") or
             len({line.split()[1] for line in server.said("accepted")}) >= 3)
    assert caller.said("failed") == [] and server.said("refused") == []
    servers = {line.split()[1] for line in caller.said("answered")}
    assert len(servers) >= 2, "the server shows what it got last"


@BOTH_CHECKS
def test_a_caller_with_another_id_is_refused(node, java, check, agent):
    begin(node, agent)
    server = java("server", check, "serve", spiffe_id("payments"))
    caller = java("caller", check, "call", spiffe_id("api"), server.wait("listening")[0])
    server.wait("refused")
    caller.wait("failed")
    assert caller.said("answered") == [] and server.said("accepted") == []


@BOTH_CHECKS
def test_a_server_with_another_id_is_refused(node, java, check, agent):
    begin(node, agent)
    server = java("server", check, "serve", spiffe_id("api"))
    caller = java("caller", check, "call", spiffe_id("payments"), server.wait("listening")[0])
    caller.wait("failed")
    assert caller.said("answered") == []


def test_the_jdk_refuses_a_rogue_issuer_under_the_true_root_at_both_ends(node, java):
    begin(node, ())
    server = java("server", "pkix", "serve", spiffe_id("api"))
    port = server.wait("listening")[0]
    thief = Thief(node)
    caller = java("caller", "pkix", "call", spiffe_id("api"), thief.serve("api"))
    assert "unable to find valid certification path" in caller.wait("failed")[0]
    assert caller.said("answered") == []
    done = thief.call("api", port)
    assert "unable to find valid certification path" in server.wait("refused")[0]
    assert server.said("accepted") == [] and spiffe_id("api") not in done.stdout


def test_java_spiffe_at_the_root_takes_a_rogue_issuer_for_true(node, java):
    begin(node, ("--workload-api-bundle", "roots"))
    server = java("server", "spiffe", "serve", spiffe_id("api"))
    port = server.wait("listening")[0]
    Thief(node).call("api", port)
    server.wait("accepted")


def test_java_spiffe_at_twins_refuses_everybody(node, java):
    """Safe, and of no use: it needs the roots, or the JDK's check."""
    begin(node, ())
    server = java("server", "spiffe", "serve", spiffe_id("api"))
    caller = java("caller", "spiffe", "call", spiffe_id("api"), server.wait("listening")[0])
    assert "does not chain with any of the trust anchors" in caller.wait("failed")[0]
    assert caller.said("answered") == []
