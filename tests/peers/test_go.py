# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Services in Go, over go-spiffe and crypto/tls: what they get of an agent, and what they enforce.

Each cell of docs/foreign-clients.md that speaks of Go is one of these tests.
"""

import signal

import pytest
from deployment import TRUST_DOMAIN, wait_for
from mesh import Thief, spiffe_id

pytestmark = pytest.mark.peers


@pytest.fixture
def api(node, go_peer):
    """Started: serves `web`, and nobody else."""
    return lambda *allow: node.client("api", node.installed(go_peer, "api"),
                                      *(allow or ("-allow", spiffe_id("web"))), "serve")


@pytest.fixture
def caller(node, go_peer):
    """Started: calls a server, which it takes for `api`."""
    def start(name, to, *args, expect="api"):
        return node.client(name, node.installed(go_peer, name), "-to", to, "-expect",
                           spiffe_id(expect), *args, "call")
    return start


def test_two_services_talk_and_know_each_other(node, api, caller):
    node.begin()
    server = api()
    web = caller("web", server.wait("listening")[0])
    answered = web.wait("answered", 3)[0].split()
    assert answered[0] == spiffe_id("api") and answered[-1] == spiffe_id("web")
    assert server.said("accepted")[0].split()[0] == spiffe_id("web")


def test_no_request_fails_while_both_ends_are_renewed_three_times(node, api, caller):
    node.begin(short_lives=True)
    server = api()
    web = caller("web", server.wait("listening")[0])
    def both():
        clients = {line.split()[1] for line in server.said("accepted")}
        servers = {line.split()[1] for line in web.said("answered")}
        return len(clients) >= 3 and len(servers) >= 3
    wait_for("three certificates of each", lambda: both() or web.said("failed"))
    assert web.said("failed") == [] and server.said("refused") == []


def test_a_caller_with_another_id_is_refused_by_the_servers_authorizer(node, api, caller):
    node.begin()
    server = api()
    stranger = caller("stranger", server.wait("listening")[0])
    assert "unexpected ID" in server.wait("refused")[0]
    stranger.wait("failed")
    assert stranger.said("answered") == []


def test_a_server_with_another_id_is_refused_by_the_callers_authorizer(node, api, caller):
    node.begin()
    server = api()
    web = caller("web", server.wait("listening")[0], expect="payments")
    assert "unexpected ID" in web.wait("failed")[0]
    assert web.said("answered") == []


def test_a_member_of_the_trust_domain_may_be_enough(node, api, caller):
    node.begin()
    server = api("-member", TRUST_DOMAIN)
    stranger = caller("stranger", server.wait("listening")[0])
    assert stranger.wait("answered")[0].endswith(spiffe_id("stranger"))


def test_peer_policy_is_not_enforced_by_go_alone(node, api, caller):
    """No policy allows the pair; the services' own authorizers do, and nothing else is asked."""
    node.begin()
    assert not node.json("policy", "list").get("rules")
    caller("web", api().wait("listening")[0]).wait("answered")


@pytest.mark.parametrize("pins", ["unsigned", "signed"])
def test_a_rogue_issuer_under_the_true_root_is_refused_by_both_ends(node, api, caller, pins):
    node.begin()
    if pins == "signed":
        node.publish_pins()
    server = api()
    thief = Thief(node)
    web = caller("web", thief.serve("api"))
    assert "unknown authority" in web.wait("failed")[0]
    assert web.said("answered") == []
    done = thief.call("web", server.wait("listening")[0])
    assert "unknown authority" in server.wait("refused")[0]
    assert spiffe_id("web") not in done.stdout


def test_a_live_connection_outlives_the_right_to_it(node, api, caller):
    """Go looks at a peer during the handshake and never again."""
    node.begin()
    server = api()
    web = caller("web", server.wait("listening")[0], "-keep")
    web.wait("answered")
    identity, = [i for i in node.json("identity", "list")["identities"]
                 if i["spiffeId"] == spiffe_id("web")]
    node.out("identity", "delete", identity["identityId"])
    newcomer = [node.folder / "web", "fetch"]
    wait_for("the refusal of newcomers", lambda: node.once(*newcomer)[0] == 1)
    web.wait("answered", len(web.said("answered")) + 50)
    assert web.said("failed") == [] and len(server.said("accepted")) == 1


def test_who_has_no_identity_yet_is_served_once_it_has_one(node, go_peer):
    node.begin()
    web = node.folder / "web"
    web.write_bytes(go_peer.read_bytes())
    web.chmod(0o755)
    watcher = node.client("watcher", web, "watch")
    assert "PermissionDenied" in watcher.wait("error")[0]
    node.identity("/web", f"unix:path:{web}")
    watcher.wait("updated")


def test_bundles_alone_are_served_to_who_has_an_identity(node, go_peer):
    node.begin()
    watcher = node.client("watcher", node.installed(go_peer, "web"), "bundles")
    assert watcher.wait("bundle")[0] == f"{TRUST_DOMAIN} 2"
    stranger = node.client("stranger", go_peer, "bundles")
    assert "PermissionDenied" in stranger.wait("error")[0]


def test_services_go_on_through_a_crash_of_the_agent(node, api, caller):
    node.begin(short_lives=True)
    server = api()
    web = caller("web", server.wait("listening")[0])
    web.wait("answered")
    agent, = [p for p in node.processes if p.name == "linchpin-agent-node"]
    agent.kill(signal.SIGKILL)
    before = {line.split()[1] for line in web.said("answered")}
    node.start_agent("node")
    wait_for("a certificate of after the crash", lambda: web.said("failed") or
             len({line.split()[1] for line in web.said("answered")} - before) >= 2)
    assert web.said("failed") == [] and server.said("refused") == []
