# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""An agent gives nothing away before the CA has shown path, pin and name."""

import base64
import hashlib

from deployment import Deployment, wait_for


def node_state(deployment, name):
    nodes = {n["nodeId"]: n for n in deployment.json("node", "list").get("nodes", [])}
    return nodes.get(deployment.node_id(name), {}).get("state")


def test_an_agent_with_pin_and_token_becomes_a_node(ca):
    ca.join("a")
    wait_for("the node to be attested", lambda: node_state(ca, "a") == "attested")


def test_the_pin_of_the_active_issuer_serves_as_well(ca):
    pins = [line.split()[0] for line in ca.out("ca", "pins").splitlines()]
    token = ca.folder / "token"
    token.write_text(ca.out("node", "token", "--ttl", "10m", "--node", "a"))
    ca.start_agent("a", "--ca-pin", pins[1], "--join-token-file", token)
    wait_for("the node to be attested", lambda: node_state(ca, "a") == "attested")


def test_a_ca_that_does_not_match_the_pin_gets_no_token(ca):
    wrong = "sha256:" + base64.b64encode(hashlib.sha256(b"another key").digest()).decode()
    token = ca.folder / "token"
    token.write_text(ca.out("node", "token", "--ttl", "10m", "--node", "a"))
    agent = ca.start_agent("a", "--ca-pin", wrong, "--join-token-file", token)
    wait_for("the refusal in the agent's log", lambda: wrong in agent.text())
    assert node_state(ca, "a") == "invited"
    assert ca.root_pin() in agent.text(), "the pin that was found is not named"


def test_a_token_is_used_up_by_the_first_key(ca):
    token = ca.folder / "token"
    token.write_text(ca.out("node", "token", "--ttl", "10m", "--node", "a"))
    args = ("--ca-pin", ca.root_pin(), "--join-token-file", token)
    ca.start_agent("first", *args)
    wait_for("the node to be attested", lambda: node_state(ca, "a") == "attested")
    second = ca.start_agent("second", *args)
    wait_for("the refusal", lambda: "token" in second.text().lower() and
             ("already" in second.text() or "used" in second.text() or "redeemed" in second.text()))
    assert second.alive(), "an agent keeps trying: an operator may mend it"


def test_the_same_agent_may_redeem_again_after_a_crash_before_sealing(ca):
    token = ca.folder / "token"
    token.write_text(ca.out("node", "token", "--ttl", "10m", "--node", "a"))
    args = ("--ca-pin", ca.root_pin(), "--join-token-file", token)
    for _ in range(5):  # killed wherever it has come to
        ca.start_agent("a", *args).kill()
    ca.start_agent("a", *args)
    wait_for("the node to be attested", lambda: node_state(ca, "a") == "attested")
    assert len(ca.json("node", "list")["nodes"]) == 1


def test_signers_instead_of_pins(ca):
    folder = ca.folder / "signer"
    folder.mkdir()
    publish(ca, folder)
    signers = ca.folder / "signers.json"
    signers.write_text(ca.out("pins", "export", "--signers"))
    token = ca.folder / "token"
    token.write_text(ca.out("node", "token", "--ttl", "10m", "--node", "a"))
    ca.start_agent("a", "--signers", signers, "--join-token-file", token)
    wait_for("the node to be attested", lambda: node_state(ca, "a") == "attested")


def test_signers_refuse_a_ca_that_no_set_names(ca, tmp_path):
    other = Deployment(tmp_path / "other")
    other.folder.mkdir()
    try:
        other.start_ca()
        folder = ca.folder / "signer"
        folder.mkdir()
        publish(other, folder)
        signers = ca.folder / "signers.json"
        signers.write_text(other.out("pins", "export", "--signers"))
        token = ca.folder / "token"
        token.write_text(ca.out("node", "token", "--ttl", "10m", "--node", "a"))
        agent = ca.start_agent("a", "--signers", signers, "--join-token-file", token)
        wait_for("the refusal", lambda: "pin set" in agent.text())
        assert node_state(ca, "a") == "invited"
    finally:
        other.stop()


def publish(deployment, folder, *options):
    key, draft = folder / "signer.key", folder / "pins.json"
    deployment.out("pins", "keygen", "--out", key)
    deployment.out("pins", "draft", "--signer", key, "--threshold", "1", "--out", draft,
                   *options)
    deployment.out("pins", "sign", "--key", key, draft)
    deployment.out("pins", "publish", draft)
    return key
