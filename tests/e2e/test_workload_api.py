# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The SPIFFE Workload API on real processes, asked by a client that is not ours."""

import os
import ssl
import subprocess

import pytest

grpc = pytest.importorskip("grpc", reason="NOT TESTED: python3-grpcio is missing")

import callers  # noqa: E402
from deployment import TRUST_DOMAIN, wait_for  # noqa: E402
from workload import BUNDLES, HEADER, SVIDS, Client, certificates  # noqa: E402

ME = f"unix:uid:{os.geteuid()}"
WEB = f"spiffe://{TRUST_DOMAIN}/web"
DOMAIN = f"spiffe://{TRUST_DOMAIN}"
Code = grpc.StatusCode


@pytest.fixture
def clients():
    made = []

    def make(socket, **options):
        made.append(Client(socket, **options))
        return made[-1]
    yield make
    for client in made:
        client.close()


@pytest.fixture
def web(ca):
    """A CA and an agent, and one identity for this process."""
    ca.join("a")
    ca.identity("/web", ME)
    wait_for("the certificate", lambda: ca.fetch("a").returncode == 0)
    return ca


def ids(response):
    return [svid.spiffe_id for svid in response.svids]


def pem(path, ders):
    path.write_text("".join(map(ssl.DER_cert_to_PEM_cert, ders)))
    return path


def subject(folder, der):
    return subprocess.run(["openssl", "x509", "-noout", "-subject", "-issuer", "-in",
                           pem(folder / "one.pem", [der])], capture_output=True, text=True,
                          check=True).stdout


def verify(folder, svid):
    """The leaf alone, by a verifier that knows nothing but the bundle (and, for roots, the rest of
    the chain)."""
    chain = certificates(svid.x509_svid)
    return subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile",
         pem(folder / "bundle.pem", certificates(svid.bundle)), "-untrusted",
         pem(folder / "chain.pem", chain), pem(folder / "leaf.pem", chain[:1])],
        capture_output=True, text=True)


def test_the_first_message_comes_at_once_and_is_whole(web, clients, tmp_path):
    client = clients(web.socket("a"))
    response = client.stream().next()
    assert ids(response) == [WEB]
    svid = response.svids[0]
    assert len(certificates(svid.x509_svid)) == 2, "leaf and issuer"
    done = verify(tmp_path, svid)
    assert done.returncode == 0, done.stderr
    key = subprocess.run(["openssl", "pkey", "-inform", "DER", "-pubout"], input=svid.x509_svid_key,
                         capture_output=True, check=True).stdout
    leaf = subprocess.run(["openssl", "x509", "-noout", "-pubkey", "-in", tmp_path / "leaf.pem"],
                          capture_output=True, check=True).stdout
    assert key == leaf
    assert not response.crl and not response.federated_bundles and not svid.hint
    bundles = client.stream(BUNDLES).next()
    assert dict(bundles.bundles) == {DOMAIN: svid.bundle}


def test_by_default_clients_are_anchored_at_the_pinned_issuers_and_not_at_the_root(
        web, clients, tmp_path):
    svid = clients(web.socket("a")).stream().next().svids[0]
    anchors = certificates(svid.bundle)
    assert len(anchors) == 2, "the twins of the active and the backup issuer"
    issuer = subject(tmp_path, certificates(svid.x509_svid)[1]).split("\n")[0]
    names = [subject(tmp_path, der).split("\n") for der in anchors]
    assert issuer in [name[0] for name in names]
    for name in names:
        assert name[0].removeprefix("subject=") == name[1].removeprefix("issuer=")


def test_a_bundle_of_roots_is_an_option(ca, clients, tmp_path):
    ca.join("a", "--workload-api-bundle", "roots")
    ca.identity("/web", ME)
    wait_for("the certificate", lambda: ca.fetch("a").returncode == 0)
    svid = clients(ca.socket("a")).stream().next().svids[0]
    assert len(certificates(svid.bundle)) == 1
    issuer = subject(tmp_path, certificates(svid.x509_svid)[1]).split("\n")
    root = subject(tmp_path, certificates(svid.bundle)[0]).split("\n")
    assert issuer[1].removeprefix("issuer=") == root[0].removeprefix("subject=")
    done = verify(tmp_path, svid)
    assert done.returncode == 0, done.stderr


def test_a_renewal_is_pushed_and_says_nothing_to_who_wants_bundles_only(ca, clients):
    ca.join("a")
    ca.identity("/web", ME, "--ttl", "10s")
    wait_for("the certificate", lambda: ca.fetch("a").returncode == 0)
    client = clients(ca.socket("a"))
    svids, bundles = client.stream(), client.stream(BUNDLES)
    bundles.next()
    first = svids.next().svids[0]
    for _ in range(2):
        renewed = svids.next().svids[0]
        assert renewed.x509_svid != first.x509_svid
        assert renewed.x509_svid_key != first.x509_svid_key
        assert renewed.bundle == first.bundle
        first = renewed
    assert bundles.got.empty()


def test_a_second_identity_and_its_end_are_pushed_and_the_end_of_the_last_ends_the_stream(
        web, clients):
    client = clients(web.socket("a"))
    svids, bundles = client.stream(), client.stream(BUNDLES)
    assert ids(svids.next()) == [WEB]
    bundles.next()
    web.identity("/second", ME)
    assert ids(svids.next()) == [WEB, f"{DOMAIN}/second"], "in the order of registration"
    by_id = {one["spiffeId"]: one["identityId"]
             for one in web.json("identity", "list")["identities"]}
    web.out("identity", "delete", by_id[WEB])
    assert ids(svids.next()) == [f"{DOMAIN}/second"]
    assert bundles.got.empty()
    web.out("identity", "delete", by_id[f"{DOMAIN}/second"])
    for stream in (svids, bundles):
        code, text = stream.end()
        assert code == Code.PERMISSION_DENIED
        assert ME in text and "linchpin identity create" in text


def test_a_change_of_policy_and_the_ca_going_and_coming_end_no_stream(web, clients):
    client = clients(web.socket("a"))
    streams = [client.stream(), client.stream(BUNDLES)]
    for stream in streams:
        stream.next()
    web.out("policy", "allow", "--from", WEB, "--to", f"{DOMAIN}/payments")
    web.ca.kill()
    for stream in streams:
        assert stream.is_silent(), stream.unexpected
    # The sealed state is enough for who comes now.
    assert ids(clients(web.socket("a")).stream().next()) == [WEB]
    web.start_ca()
    web.identity("/second", ME)
    assert len(streams[0].next().svids) == 2
    assert streams[1].is_silent(), streams[1].unexpected


def test_an_agent_that_starts_without_its_ca_serves_what_it_has_sealed(web, clients):
    first = clients(web.socket("a")).stream().next().svids[0]
    web.ca.kill()
    web.processes[-1].kill()
    web.start_agent("a")
    again = clients(web.socket("a")).stream().next().svids[0]
    assert again == first


def test_who_has_no_identity_is_told_the_selectors_that_were_seen(ca, clients):
    ca.join("a")
    wait_for("the agent to have joined",
             lambda: "no identity" in ca.fetch("a", "--timeout", "1s").stderr)
    client = clients(ca.socket("a"))

    def denied(method):
        code, text = client.stream(method).end()
        return code == Code.PERMISSION_DENIED and text
    for method in (SVIDS, BUNDLES):
        # The first moments may be those of an agent that knows nothing yet.
        text = wait_for("the refusal", lambda: denied(method))
        assert ME in text and f"linchpin identity create --id {DOMAIN}/NAME --selector" in text


def test_who_asks_while_the_certificate_is_being_made_waits_for_it(ca, clients):
    ca.join("a")
    client = clients(ca.socket("a"))
    wait_for("the agent to know what is registered",
             lambda: client.stream().end()[0] == Code.PERMISSION_DENIED)
    for i in range(20):
        ca.identity(f"/one{i}", ME)
        # Asked for when the agent has the registration, which may be after or before this.
        codes = []

        def answered():
            stream = client.stream()
            got = stream.got.get(timeout=60)
            if isinstance(got, grpc.RpcError):
                codes.append(got.code())
                return False
            stream.cancel()
            return len(got.svids) == i + 1
        wait_for("the certificate", answered)
        assert i == 0 or not codes, "an identity that exists is never denied meanwhile"
        assert set(codes) <= {Code.PERMISSION_DENIED}


def test_an_agent_that_has_not_joined_yet_is_unavailable(ca, clients):
    pin, token = ca.root_pin(), ca.folder / "token"
    token.write_text(ca.out("node", "token", "--ttl", "10m", "--node", "a") + "\n")
    ca.ca.kill()
    ca.start_agent("a", "--ca-pin", pin, "--join-token-file", token)
    client = clients(ca.socket("a"))
    for method in (SVIDS, BUNDLES):
        code, text = client.stream(method).end()
        assert code == Code.UNAVAILABLE and "has not joined its CA yet" in text
    assert "has not joined its CA yet" in ca.fetch("a", "--timeout", "1s").stderr
    ca.start_ca()
    ca.identity("/web", ME)

    def served():
        got = client.stream().got.get(timeout=60)
        return not isinstance(got, grpc.RpcError) and ids(got) == [WEB]
    wait_for("the certificate", served)


@pytest.mark.parametrize("metadata", [(), (HEADER, HEADER), ((HEADER[0], "True"),),
                                      ((HEADER[0], "1"),), ((HEADER[0], ""),),
                                      (("workload.spiffe", "true"),)])
def test_a_call_without_the_security_header_is_invalid(web, clients, metadata):
    client = clients(web.socket("a"))
    for method in (SVIDS, BUNDLES, "FetchJWTBundles"):
        code, text = client.stream(method, metadata).end()
        assert code == Code.INVALID_ARGUMENT and "workload.spiffe.io: true" in text
    for method in ("FetchJWTSVID", "ValidateJWTSVID"):
        assert client.call(method, metadata)[0] == Code.INVALID_ARGUMENT
    assert ids(client.stream().next()) == [WEB], "the connection is as good as before"


def test_other_services_need_no_security_header(web):
    assert web.fetch("a").returncode == 0


def test_jwt_and_unknown_methods_are_unimplemented(web, clients):
    client = clients(web.socket("a"))
    assert client.stream("FetchJWTBundles").end()[0] == Code.UNIMPLEMENTED
    for method in ("FetchJWTSVID", "ValidateJWTSVID", "FetchWITSVID", "NoSuchMethod"):
        assert client.call(method)[0] == Code.UNIMPLEMENTED, method


@pytest.mark.parametrize("authority", ["localhost", "run%2Fagent.sock", "/run/agent.sock",
                                       "sds_agent", "a.example:443"])
def test_any_authority_will_do(web, authority):
    headers = callers.request("/SpiffeWorkloadAPI/FetchX509SVID", authority, HEADER)
    connection = callers.open_http2(web.socket("a"))
    connection.sendall(callers.call(headers))
    assert WEB.encode() in callers.read_until(connection, callers.DATA)


def test_health_and_reflection_are_served(web, clients):
    channel = clients(web.socket("a")).channel
    health = channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=60)
    assert health == b"\x08\x01", "SERVING"
    ask = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    listing = next(ask(iter([b"\x3a\x01*"]), timeout=60))  # list_services: "*"
    for service in (b"SpiffeWorkloadAPI", b"linchpin.agent.v1.MtlsContextService",
                    b"grpc.health.v1.Health"):
        assert service in listing
    described = next(ask(iter([b"\x22\x11SpiffeWorkloadAPI"]), timeout=60))
    assert b"FetchX509SVID" in described


def test_the_memory_of_a_thousand_streams_is_given_back(web, clients):
    agent = web.processes[-1].popen.pid
    client = clients(web.socket("a"))
    client.stream().next()
    before, files = callers.resident(agent), callers.open_files(agent)
    for _ in range(10):
        several = [clients(web.socket("a")) for _ in range(10)]
        streams = [one.stream() for one in several for _ in range(10)]
        for stream in streams:
            assert ids(stream.next()) == [WEB]
        for one in several:
            one.close()
    wait_for("the files to be closed", lambda: callers.open_files(agent) <= files + 4)
    wait_for("the memory", lambda: callers.resident(agent) < before + (8 << 20))
    assert ids(client.stream().next()) == [WEB]
