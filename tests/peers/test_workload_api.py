# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The SPIFFE Workload API as four libraries that are not ours use it, unchanged."""

import pytest
from deployment import wait_for
from mesh import ANYBODY, spiffe_id

pytestmark = pytest.mark.peers


@pytest.fixture
def peer(request):
    """The beginning of a command line that `fetch` or `watch` ends."""
    made = request.getfixturevalue(f"{request.param}_peer")
    return made if isinstance(made, list) else [made]


EACH_CLIENT = pytest.mark.parametrize("peer", ["go", "java", "python", "rust"], indirect=True)


@EACH_CLIENT
def test_a_client_fetches_its_certificate_and_the_twins_of_the_issuers(node, peer):
    node.begin()
    node.identity("/web", ANYBODY)
    lines = node.fetched(*peer, "fetch")
    own, = [line.split() for line in lines if line.startswith("svid ")]
    assert own[1] == spiffe_id("web") and "certificates=2" in own, "leaf and issuer"
    # Twins of the active and of the backup issuer; no root.
    assert "bundle example.org 2" in [line.replace("spiffe://", "") for line in lines], lines


@EACH_CLIENT
def test_a_client_with_two_identities_is_given_both_in_order(node, peer):
    node.begin()
    node.identity("/web", ANYBODY, "--hint", "outside")
    node.identity("/web/internal", ANYBODY, "--hint", "inside")
    lines = node.fetched(*peer, "fetch", identities=2)
    ids = [line.split()[1] for line in lines if line.startswith("svid ")]
    assert ids == [spiffe_id("web"), spiffe_id("web/internal")], "the first is the default"
    hints = [word for line in lines for word in line.split() if word.startswith("hint=")]
    assert hints in ([], ['hint="outside"', 'hint="inside"']), "not every library tells them"


@EACH_CLIENT
def test_a_client_without_an_identity_is_denied(node, peer):
    node.begin()
    code, lines = node.once(*peer, "fetch")
    assert code == 1
    text = " ".join(lines).lower().replace("_", "").replace(" ", "")
    assert "permissiondenied" in text or "noidentity" in text, lines


@EACH_CLIENT
def test_a_watcher_is_given_three_certificates_and_no_error(node, peer):
    """Through a change of pins, too, which never looks like a refusal in between."""
    node.begin(short_lives=True)
    node.identity("/web", ANYBODY)
    watcher = node.client("watcher", *peer, "watch")
    watcher.wait("svid")
    node.publish_pins()
    node.identity("/other", "unix:path:/nowhere")
    wait_for("three certificates",
             lambda: len(watcher.generations()) >= 3 or not watcher.process.alive())
    assert len(watcher.generations()) >= 3, watcher.process.text()
    assert watcher.said("error") == []
    assert "closed" not in watcher.process.text().splitlines()
