# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""X25519MLKEM768 comes first in each of our own connections where OpenSSL has it, and X25519
otherwise; who has neither is served with P-256."""

import os

import pytest

from deployment import BIN, TRUST_DOMAIN
from key_exchange import (CLASSICAL, HYBRID, first_flight, group_with, groups_between, is_known,
                          listening, offers)

BEST = [HYBRID] if is_known(HYBRID) else []
FIRST = (BEST + CLASSICAL)[0]
SERVICE = BIN / "linchpin-demo-service"


def test_an_agent_offers_the_best_first_to_its_ca(deployment, tmp_path):
    (tmp_path / "token").write_text("of nobody\n")
    with listening() as listener:
        deployment.ca_port = listener.getsockname()[1]
        deployment.start("agent", deployment.agent_args(
            "a", "--ca-pin", "sha256:" + "A" * 43 + "=", "--join-token-file", tmp_path / "token"))
        groups, shares = offers(first_flight(listener))
    assert groups == BEST + CLASSICAL
    assert shares == BEST + ["X25519"], "an older CA costs no further round trip"


@pytest.mark.parametrize("group", ["X25519", "P-256", "P-384"])
def test_the_ca_takes_what_an_older_node_has(ca, group):
    assert group_with(ca.ca_port, "-groups", group) == group


def test_the_ca_prefers_the_best(ca):
    assert group_with(ca.ca_port, "-groups", ":".join(BEST + CLASSICAL)) == FIRST
    if BEST:  # although its share has not come, only its name
        assert group_with(ca.ca_port, "-groups", f"*X25519/{HYBRID}") == FIRST


def test_two_services_agree_on_the_best(ca):
    ca.join("a")
    me = f"spiffe://{TRUST_DOMAIN}/web"
    ca.identity("/web", f"unix:uid:{os.geteuid()}")
    ca.out("policy", "allow", "--from", me, "--to", me)
    assert groups_between(ca, SERVICE, SERVICE) == (FIRST, FIRST)
    with listening() as listener:
        ca.start("caller", [SERVICE, "--socket", f"unix://{ca.socket('a')}", "--expect", me,
                            "--call", f"127.0.0.1:{listener.getsockname()[1]}"])
        assert offers(first_flight(listener)) == (BEST + CLASSICAL, BEST + ["X25519"])
