# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What a wholly compromised CA can do to its nodes, and what it cannot: the attacker has its
process, its store, the root's and the issuers' keys, and everything that was ever published."""

import pytest
from attacker import (Key, certificate, changed, fields, issuer_under, message, run, signed,
                      stolen_issuer, stolen_root)
from deployment import wait_for
from pinned_world import FOREIGN, UID, Files, World

@pytest.fixture
def world(ca):
    return World(ca, signed_node=True)


@pytest.fixture
def set_zero(ca):
    return World(ca, signed_node=False)


def issuer_without(role):
    """The payload's issuers (field 5) but those of a role (field 2 in each)."""
    def remove(entries):
        return [e for e in entries if e[0] != 5 or dict(fields(e[1])).get(2) != role]
    return remove


def spoilt_issuer(entries):
    out = []
    for number, value in entries:
        if number == 5 and dict(fields(value)).get(2) == 1:
            pin = dict(fields(value))[1]
            value = message(changed(fields(value), 1, pin[:-1]))
        out.append((number, value))
    return out


def test_no_pin_set_of_its_own_making_is_taken(world):
    mallory = Key(world.ca.folder / "mallory.key")
    true = [world.signers["alice"], world.signers["bob"]]
    stamp = world.pins_of_service()["pins"]
    first = world.sets()[0]
    world.publish()  # version 2
    wait_for("version 2 to be held", lambda: world.node().get("pinSetVersion") == "2")
    second = world.sets()[-1]
    base = changed(fields(world.last_payload()), 2, 3)  # version 3
    signers = message([(1, mallory.spki), (2, 1)])

    def payload(entries):
        return message(sorted(entries, key=lambda e: e[0]))
    table = [
        ("signed by 0 of the previous signers",
         [second, signed(payload(changed(base, 10, signers)), [mallory])]),
        ("rollback", [first]),
        ("other.org", [second, signed(payload(changed(base, 1, b"other.org")), true)]),
        ("signed by 1 of the previous signers", [second, signed(payload(base), true[:1])]),
        ("signed by 1 of the previous signers",
         [second, signed(payload(base), [true[0], mallory])]),
        ("issuer", [second, signed(payload(spoilt_issuer(base)), true)]),
        ("the backup is missing", [second, signed(payload(issuer_without(3)(base)), true)]),
        ("the active is missing", [second, signed(payload(issuer_without(1)(base)), true)]),
    ]
    for says, sets in table:
        world.offer(sets)
        world.refused(says)
        node = world.node()
        assert node["pinSetVersion"] == "2", says
        pins = world.pins_of_service()["pins"]
        assert (pins["issuers"], pins["anchors"]) == (stamp["issuers"], stamp["anchors"]), says
    assert world.metric("linchpin_agent_trust_refused_total") >= len(table), "each is counted"
    # What the signers made is taken as before.
    world.offer([second])
    wait_for("the true sets to be taken", lambda: not world.node().get("refusedTrust"))


def test_a_signer_that_was_removed_counts_no_more(world):
    world.publish("--signer", world.ca.folder / "alice.key", "--signer",
                  world.ca.folder / "bob.key", "--threshold", "2")
    wait_for("version 2 to be held", lambda: world.node().get("pinSetVersion") == "2")
    base = message(sorted(changed(fields(world.last_payload()), 2, 3), key=lambda e: e[0]))
    by = [world.signers["alice"], world.signers["carol"]]
    world.offer(world.sets() + [signed(base, by)])
    world.refused("signed by 1 of the previous signers")
    assert world.node()["pinSetVersion"] == "2"


def test_it_cannot_relax_the_pins(world):
    mallory = Key(world.ca.folder / "mallory.key")
    now = int(run("date", "+%s"))
    payload = message([(1, b"example.org"), (2, 1), (3, 1), (4, now - 60), (5, now + 86400),
                       (6, 3600)])
    for by, says in (([mallory], "signed by 0"), ([world.signers["alice"]], "signed by 1")):
        world.offer(world.sets(), signed(payload, by, b"linchpin relax v1\n"))
        world.refused(says)
        assert int(world.pins_of_service()["pins"]["relaxedUntil"]) == 0


def forge_root(world):
    """A root of the attacker's and, under the true root's stolen key, an issuer of his."""
    folder = world.ca.folder
    root_key, issuer_key = Key(folder / "rogue-root.key"), Key(folder / "rogue-issuer.key")
    rogue_root = certificate(folder, "rogue-root", root_key)
    rogue_issuer = certificate(folder, "rogue-issuer", issuer_key, stolen_root(world))
    return root_key, rogue_root, issuer_key, rogue_issuer


def add_authorities(world, root_key, rogue_root, issuer_key, rogue_issuer):
    now = int(run("date", "+%s"))

    def record(state, der, name):
        return message([(1, state), (2, der), (3, name), (4, now)])

    def do():
        world.store.write("authority/root/" + root_key.pin.hex(),
                          record(b"active", rogue_root, b"rogue-root"))
        world.store.write("authority/issuer/" + issuer_key.pin.hex(),
                          record(b"prepared", rogue_issuer, b"rogue-issuer"))
        world.store.write_trust([e for e in world.store.trust() if e[0] != 1])
    world.attack(do)


def offered(world):
    """The attacker's root and issuer are offered, and the node has taken what it takes of it."""
    root_key, rogue_root, issuer_key, rogue_issuer = forge_root(world)
    before = int(world.node().get("epochHeld", 0))
    add_authorities(world, root_key, rogue_root, issuer_key, rogue_issuer)
    wait_for("the node to hold what the CA offers",
             lambda: int(world.node().get("epochHeld", 0)) > before)
    return root_key, issuer_key, world.pins_of_service()


def in_base64(data):
    return run("openssl", "base64", "-A", stdin=data).decode().strip()


def test_no_root_and_no_issuer_of_its_own_is_pinned(world):
    root_key, issuer_key, context = offered(world)
    assert len(context["anchors"]) == 1, "a root that no set vouches for is no anchor"
    pins = context["pins"]
    assert in_base64(root_key.pin) not in pins["anchors"]
    assert in_base64(issuer_key.pin) not in pins["issuers"]


def test_under_set_zero_it_may_add_issuers_but_no_root(set_zero):
    root_key, issuer_key, context = offered(set_zero)
    assert len(context["anchors"]) == 1, "the roots of the first connection are frozen"
    pins = context["pins"]
    assert in_base64(root_key.pin) not in pins["anchors"]
    assert in_base64(issuer_key.pin) in pins["issuers"], "set 0 does not protect against the CA"


def test_it_can_issue_under_the_key_it_has_and_withhold_and_deny(world):
    ca = world.ca
    ca.identity("/payments", UID)  # nobody of the owners asked for this
    wait_for("the certificate", lambda: FOREIGN in ca.fetch("n").stdout)
    # Withholding: the sets that it keeps back are kept back, and what is in force stays.
    before = world.pins_of_service()["pins"]
    world.attack(lambda: None)
    assert world.pins_of_service()["pins"] == before
    # Denying: with the CA gone, what was issued goes on.
    ca.ca.kill()
    assert FOREIGN in ca.fetch("n").stdout


def test_with_the_keys_it_has_it_can_be_any_service_until_the_signers_drop_them(ca, impostors):
    carrier = Files(ca)
    world = World(ca, signed_node=True, agent_args=("--pin-set-file", carrier.folder))
    ca.out("policy", "allow", "--from", "spiffe://example.org/web", "--to", FOREIGN, "--wait")
    ca.ca.kill()  # the attacker needs it no more
    stolen = stolen_issuer(world)
    as_payments = impostors(world, "payments", stolen)
    wait_for("the call to be taken in", lambda: world.call(as_payments).returncode == 0)

    # Not with an issuer that no set names, although the true root certifies it; nor with a root.
    forge_root(world)
    under_true = impostors(world, "under-true",
                           issuer_under(world, "own-issuer", stolen_root(world)))
    assert "ISSUER_NOT_PINNED" in world.call(under_true).stderr + world.call(under_true).stdout
    own_root = ca.folder / "rogue-root.pem", Key(ca.folder / "rogue-root.key")
    under_own = impostors(world, "under-own", issuer_under(world, "its-issuer", own_root))
    refused = world.call(under_own)
    assert refused.returncode != 0 and "NO_PATH" in refused.stderr + refused.stdout

    # The signers need no CA to end it: the backup becomes active, and another key the backup.
    ca.out("pins", "keygen", "--out", ca.folder / "spare.key")
    last = world.signed_draft("--before", ca.folder / "pins-1.json", "--drop",
                              f"sha256:{in_base64(stolen[1].pin)}", "--backup-key",
                              ca.folder / "spare.key", "--urgent")
    carrier.put(last)
    wait_for("the stolen key to be worth nothing", lambda: "ISSUER_NOT_PINNED" in
             (lambda done: done.stderr + done.stdout)(world.call(as_payments)))
