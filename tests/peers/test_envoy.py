# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Two real Envoys, which the agent gives certificates, anchors and peers by SDS."""

import re
import subprocess

import pytest
import rogue
from deployment import BIN, wait_for
from envoys import envoy, pair  # noqa: F401
from mesh import Thief, spiffe_id

pytestmark = pytest.mark.peers

PEERS_INBOUND = """                validation_context_sds_secret_config:
                  name: peers:inbound
                  sds_config: *agent
"""
# What one who names his peers himself writes in its place.
COMBINED = """                combined_validation_context:
                  default_validation_context:
                    match_typed_subject_alt_names:
                      - { san_type: URI, matcher: { exact: "%s" } }
                  validation_context_sds_secret_config:
                    name: ROOTCA
                    sds_config: *agent
"""
DELTA = ("api_type: GRPC", "api_type: DELTA_GRPC")
OPT_OUT = ("  cluster: examples",
           "  cluster: examples\n  metadata: { disable_spiffe_cert_validation: true }")


ROOT_ONLY = (PEERS_INBOUND, COMBINED % spiffe_id("client"))
# A connection a request, so that each request is a handshake.
EACH_ITS_OWN = ("    - name: server\n      load_assignment:", """    - name: server
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          common_http_protocol_options: { max_requests_per_connection: 1 }
          explicit_http_config: { http_protocol_options: {} }
      load_assignment:""")
CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)


def allow(node, source="client", target="server"):
    node.out("policy", "allow", "--from", spiffe_id(source), "--to", spiffe_id(target))


def answers(pair):
    return wait_for("an answer of the server", lambda: pair.get()[0] == 200)


def certified(node, name):
    """A chain and key that the CA gave to `name`."""
    folder = node.folder / f"files-{name}"
    fetch = node.installed(BIN / "linchpin", name)
    wait_for("the files", lambda: node.once(
        fetch, "--socket", f"unix://{node.socket('node')}", "fetch", "--write", folder)[0] == 0)
    return folder / "chain.pem", folder / "key.pem"


def knock(pair, chain, key):
    """One request of openssl with this certificate: whether it is answered."""
    leaf, *above = CERTIFICATE.findall(chain.read_text())
    rest = chain.with_name("all-but-the-leaf.pem")
    rest.write_text("".join(above))
    assert leaf not in above
    done = subprocess.run(
        ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{pair.inbound_port}", "-cert",
         chain, "-cert_chain", rest, "-key", key], capture_output=True, timeout=60, check=False,
        input=b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    answered = b"HTTP/1.1 200" in done.stdout
    assert answered or b"alert" in done.stderr, done.stderr
    return answered


@pytest.mark.parametrize("change", [None, DELTA], ids=["whole", "delta"])
def test_allowed_peers_reach_each_other_through_four_certificates(node, pair, change):
    changes = [change] if change else []
    node.begin(short_lives=True)
    allow(node)
    pair.begin(inbound=changes, outbound=[EACH_ITS_OWN, *changes])
    answers(pair)
    seen = {"inbound": set(), "outbound": set()}
    asked = 0
    while min(map(len, seen.values())) < 4:
        status, body = pair.get()
        assert status == 200 and f"URI={spiffe_id('client')}" in body, (asked, status, body)
        asked += 1
        for name, serials in seen.items():
            serials.add(getattr(pair, name).certificate())
    assert pair.inbound.stat("listener.*ssl.handshake") >= asked
    for one in (pair.inbound, pair.outbound):
        assert one.stat("update_rejected") == one.stat("ssl.fail_verify_san") == 0


def test_where_the_policy_allows_nobody_nobody_gets_in(node, pair):
    node.begin()
    pair.begin()
    chain, key = certified(node, "friend")
    assert pair.get()[0] == 503
    assert not knock(pair, chain, key)
    allow(node, "friend")
    wait_for("the friend to be let in", lambda: knock(pair, chain, key))
    assert pair.get()[0] == 503
    allow(node)
    answers(pair)
    intruder = certified(node, "intruder")
    refused = pair.inbound.stat("ssl.fail_verify_san")
    assert not knock(pair, *intruder) and knock(pair, chain, key)
    assert pair.inbound.stat("ssl.fail_verify_san") == refused + 1
    node.out("policy", "delete", "--from", spiffe_id("friend"), "--to", spiffe_id("server"))
    wait_for("the friend to be refused", lambda: not knock(pair, chain, key))
    node.out("policy", "delete", "--from", spiffe_id("client"), "--to", spiffe_id("server"))
    wait_for("nobody to be let in", lambda: "nobody" in pair.inbound.ask("/config_dump"))
    assert not knock(pair, chain, key)


@pytest.mark.parametrize("bundle, let_in", [("pinned", False), ("roots", True)])
def test_an_issuer_under_the_true_root_that_nobody_pinned(node, pair, bundle, let_in):
    node.begin(agent=("--sds-bundle", bundle))
    allow(node)
    pair.begin()
    answers(pair)
    _, issuer = CERTIFICATE.findall(certified(node, "friend")[0].read_text())
    for subject in (None, "/O=Linchpin/CN=" + common_name(node, issuer)):
        thief = Thief(node, subject)
        assert knock(pair, *thief.certify("client")) == let_in, subject


# Envoy's library does not ask an anchor for its path length; its SPIFFE validator knows no depth.
@pytest.mark.parametrize("changes, sub_ca_is_let_in",
                         [([], False), ([ROOT_ONLY, OPT_OUT], False), ([ROOT_ONLY], True)],
                         ids=["peers", "own validator", "spiffe validator"])
def test_a_ca_that_was_made_with_a_stolen_issuer_key(node, pair, changes, sub_ca_is_let_in):
    node.begin()
    allow(node)
    pair.begin(inbound=changes)
    answers(pair)
    folder = node.folder / "stolen"
    folder.mkdir()
    issuer = folder / "true-issuer.pem"
    issuer.write_text(CERTIFICATE.findall(certified(node, "friend")[0].read_text())[1])
    key = next(key for key in node.ca_dir.rglob("*.pem") if is_of(key, issuer))
    beneath, its_key = rogue.certify(folder, "beneath", rogue.ISSUER, issuer, key)
    for name, ca, ca_key, above, let_in in (
            ("through", beneath, its_key, [beneath, issuer], sub_ca_is_let_in),
            ("short", beneath, its_key, [beneath], sub_ca_is_let_in),
            ("plain", issuer, key, [issuer], True)):
        leaf, leaf_key = rogue.certify(folder, name, rogue.LEAF.format(id=spiffe_id("client")), ca,
                                       ca_key)
        chain = folder / f"{name}-chain.pem"
        chain.write_text("".join(one.read_text() for one in (leaf, *above)))
        assert knock(pair, chain, leaf_key) == let_in, name


def is_of(key, certificate):
    """Whether the file holds this certificate's key."""
    def public(*args):
        return subprocess.run(["openssl", *args], capture_output=True, check=False).stdout
    wanted = public("x509", "-noout", "-pubkey", "-in", certificate)
    return wanted and public("pkey", "-pubout", "-in", key) == wanted


def test_envoys_go_on_while_their_agent_is_away_and_are_found_again(node, pair):
    node.begin(short_lives=True)
    allow(node)
    pair.begin(outbound=[EACH_ITS_OWN])
    answers(pair)
    agent = next(one for one in node.processes if one.name == "linchpin-agent-node")
    agent.kill()
    before = {one: one.certificate() for one in (pair.inbound, pair.outbound)}
    for _ in range(20):
        assert pair.get()[0] == 200
    node.start_agent("node")
    wait_for("new certificates", lambda: all(one.certificate() != before[one] for one in before))
    answers(pair)
    chain, key = certified(node, "friend")
    allow(node, "friend")
    wait_for("the friend to be let in", lambda: knock(pair, chain, key))


def common_name(node, pem):
    text = subprocess.run(["openssl", "x509", "-noout", "-subject", "-nameopt", "multiline"],
                          input=pem, capture_output=True, text=True, check=True).stdout
    return text.split("commonName")[1].split("=")[1].strip()


@pytest.mark.parametrize("changes", [[], [OPT_OUT]], ids=["spiffe validator", "own validator"])
def test_who_names_his_peers_himself_takes_the_anchors_alone(node, pair, changes):
    node.begin()
    allow(node)
    pair.begin(inbound=[ROOT_ONLY, *changes])
    answers(pair)
    assert not knock(pair, *certified(node, "friend"))
    assert not knock(pair, *Thief(node).certify("client"))
