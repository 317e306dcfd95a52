# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Pin sets and what goes with them, by real programs: signed apart from the CA, relaxed, withheld,
expired, carried by files, and at first contact."""

import json
import time

import pytest
from deployment import wait_for
from pinned_world import Files, World


@pytest.fixture
def world(ca):
    return World(ca, signed_node=True)


@pytest.fixture
def files(ca):
    carrier = Files(ca)
    return World(ca, signed_node=True, agent_args=("--pin-set-file", carrier.folder)), carrier


def relax_document(world, by=("alice", "bob")):
    file = world.ca.folder / "relax.json"
    world.ca.out("pins", "relax", "--until", "2099-01-31", "--for", "6h", "--out", file)
    for name in by:
        world.ca.out("pins", "sign", "--key", world.signers[name].path, file)
    return file


def relaxed(world):
    return int(world.pins_of_service()["pins"].get("relaxedUntil", 0))


def test_a_set_is_signed_on_files_one_signature_at_a_time_and_not_published_before(world):
    ca, file = world.ca, world.ca.folder / "next.json"
    ca.out("pins", "draft", "--out", file)
    ca.ca.kill()  # signers need none
    assert "2 needed" in ca.out("pins", "sign", "--key", world.signers["alice"].path, file)
    ca.start_ca()
    early = ca.run("pins", "publish", file, check=False)
    assert early.returncode == 1 and "pins sign --key" in early.stderr
    assert "pins publish" in ca.out("pins", "sign", "--key", world.signers["carol"].path, file)
    ca.out("pins", "publish", file)
    wait_for("it to be held", lambda: world.node().get("pinSetVersion") == "2")


def test_a_relax_is_honoured_once_and_a_newer_set_ends_it(world):
    ca = world.ca
    half = relax_document(world, by=("alice",))
    assert ca.run("pins", "publish", half, check=False).returncode == 1
    document = relax_document(world)
    before = time.time()
    ca.out("pins", "publish", document)
    until = wait_for("the pins to be relaxed", lambda: relaxed(world))
    assert before + 6 * 3600 - 60 <= until <= time.time() + 6 * 3600 + 60
    wait_for("operators to see it", lambda: "RELAXED until" in ca.out("node", "list"))
    assert "RELAXED" in ca.out("pins", "show")
    ca.out("pins", "publish", document)  # again: no longer than it was
    assert relaxed(world) == until
    world.publish()
    wait_for("the newer set to end it", lambda: relaxed(world) == 0)
    again = ca.run("pins", "publish", document, check=False)
    assert again.returncode == 1 and "version 1" in again.stderr, again.stderr


def test_without_the_ca_a_relax_reaches_a_node_by_a_file(files):
    world, carrier = files
    document = relax_document(world)
    world.ca.ca.kill()
    carrier.put(document)
    wait_for("the pins to be relaxed", lambda: relaxed(world))


def test_what_the_ca_withholds_is_an_alarm_and_comes_by_a_file(files):
    world, carrier = files
    ca, clerk = world.ca, world.ca.folder / "clerk.key"
    ca.out("pins", "keygen", "--out", clerk)
    second = world.publish("--freshness-key", f"{clerk}.pub")
    wait_for("version 2 to be held", lambda: world.node().get("pinSetVersion") == "2")
    third = world.signed_draft("--before", second)  # nobody publishes it
    fresh = ca.folder / "fresh.json"
    ca.out("pins", "fresh", "--key", clerk, "--set", third, "--for", "24h", "--out", fresh)
    carrier.put(fresh)
    wait_for("the alarm, seen by operators", lambda: any(
        "withheld" in concern for concern in world.node().get("pinConcerns", [])))
    assert "withheld" in ca.out("node", "list")
    carrier.put(third)
    wait_for("version 3 by the file", lambda: world.node().get("pinSetVersion") == "3")
    assert "publish it here too" in ca.out("node", "list")
    world.offer(world.sets())  # the CA says again which is the newest that it has
    world.refused("withheld")
    ca.out("revoke", "--id", "spiffe://example.org/stolen")
    wait_for("the revocation, which the file does not keep out", lambda: "stolen" in json.dumps(
        world.pins_of_service().get("revocations", [])))
    assert world.pins_of_service()["pins"]["version"] == "3"
    ca.out("pins", "publish", third)
    wait_for("the CA to have caught up", lambda: not world.node().get("refusedTrust"))


def test_an_expired_set_stays_in_force_with_an_alarm_and_admits_no_newcomer(world):
    ca = world.ca
    world.publish("--expires", "5s", "--on-expiry", "keep")
    wait_for("it to be held", lambda: world.node().get("pinSetVersion") == "2")
    wait_for("it to expire", lambda: world.pins_of_service()["pins"].get("expired"))
    assert any("expired at" in c for c in world.node()["pinConcerns"])
    assert "warning" in ca.out("pins", "show")
    newcomer = world.newcomer("m")
    wait_for("the refusal", lambda: "which expired at" in newcomer.text())
    assert world.node("m")["state"] == "invited"
    world.publish("--expires", "1h")
    wait_for("the newcomer", lambda: world.node("m").get("connected"))
    wait_for("the end of the alarm", lambda: not world.pins_of_service()["pins"].get("expired"))


def test_a_newcomer_takes_no_set_below_the_minimum_version_of_its_signers_file(world):
    signers = json.loads(world.ca.out("pins", "export", "--signers"))
    assert signers["minimumVersion"] == "1"
    signers["minimumVersion"] = "2"
    newcomer = world.newcomer("m", json.dumps(signers))
    wait_for("the refusal", lambda: "at least 2 is expected" in newcomer.text())
    assert world.node("m")["state"] == "invited"
    world.publish()
    wait_for("the newcomer", lambda: world.node("m").get("connected"))


def test_with_signers_set_zero_never_applies(world):
    entries = [e for e in world.store.trust() if e[0] not in (1, 2)]
    signers = world.ca.out("pins", "export", "--signers")
    world.attack(lambda: world.store.write_trust(entries))  # as if nothing had ever been signed
    newcomer = world.newcomer("m", signers)
    wait_for("the refusal", lambda: "no signed pin set" in newcomer.text())
    assert world.node("m")["state"] == "invited"
    world.refused("withheld")
    assert world.pins_of_service()["pins"]["isSigned"]
