# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What becomes of a pin set that expires, by what it says of that, in handshakes of real programs:
with a true peer, and with one whose issuer no set names, though the true root certifies it."""

import pytest
from attacker import issuer_under, stolen_issuer, stolen_root
from deployment import wait_for
from pinned_world import FOREIGN, World


@pytest.fixture
def peers(ca, impostors):
    """(world, port of a true peer, port of one under an issuer that is not pinned)."""
    world = World(ca, signed_node=True)
    ca.out("policy", "allow", "--from", "spiffe://example.org/web", "--to", FOREIGN, "--wait")
    true = impostors(world, "payments", stolen_issuer(world))
    rogue = impostors(world, "rogue", issuer_under(world, "own-issuer", stolen_root(world)))
    wait_for("the true peer", lambda: talks(world, true))
    assert "ISSUER_NOT_PINNED" in said(world, rogue)
    return world, true, rogue


def talks(world, port):
    return world.call(port).returncode == 0


def said(world, port):
    done = world.call(port)
    return done.stdout + done.stderr


def expire(world, behaviour):
    world.publish("--expires", "5s", "--on-expiry", behaviour)
    wait_for("it to be held", lambda: world.node().get("pinSetVersion") == "2")
    wait_for("it to expire", lambda: world.pins_of_service()["pins"].get("expired"))


def test_keep_goes_on_and_still_refuses_an_issuer_that_is_not_pinned(peers):
    world, true, rogue = peers
    expire(world, "keep")
    assert talks(world, true)
    assert "ISSUER_NOT_PINNED" in said(world, rogue)


def test_report_only_lets_it_through_until_the_next_set(peers):
    world, true, rogue = peers
    expire(world, "report_only")
    assert talks(world, true)
    wait_for("what is not pinned to be let through", lambda: talks(world, rogue))
    assert any("expired at" in concern for concern in world.node()["pinConcerns"])
    world.publish("--expires", "1h")
    wait_for("the pins to be enforced again", lambda: "ISSUER_NOT_PINNED" in said(world, rogue))
    assert talks(world, true)


def test_fail_closed_refuses_everybody_until_the_next_set(peers):
    world, true, _ = peers
    expire(world, "fail_closed")
    wait_for("everybody to be refused", lambda: "PINS_EXPIRED" in said(world, true))
    assert any("expired at" in concern for concern in world.node()["pinConcerns"])
    world.publish("--expires", "1h")
    wait_for("the peer", lambda: talks(world, true))
