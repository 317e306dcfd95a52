# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Two real Envoys, which the agent gives certificates, anchors and peers by SDS."""

import pytest
from deployment import wait_for
from envoys import envoy, pair  # noqa: F401
from mesh import spiffe_id

pytestmark = pytest.mark.peers


def allow(node, source="client", target="server"):
    node.out("policy", "allow", "--from", spiffe_id(source), "--to", spiffe_id(target))


def test_allowed_peers_reach_each_other(node, pair):
    node.begin()
    allow(node)
    pair.begin()
    status, body = wait_for("an answer", lambda: [a for a in [pair.get()] if a[0] == 200])[0]
    assert f"URI={spiffe_id('client')}" in body
