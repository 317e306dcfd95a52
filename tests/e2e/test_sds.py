# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Envoy's secret discovery on real processes, asked by one who does as he likes."""

import os

import pytest

grpc = pytest.importorskip("grpc", reason="NOT TESTED: python3-grpcio is missing")

from deployment import TRUST_DOMAIN, wait_for  # noqa: E402
from sds import Channel, DeltaRequest, Request, secrets  # noqa: E402

ME = f"unix:uid:{os.geteuid()}"
WEB = f"spiffe://{TRUST_DOMAIN}/web"
Code = grpc.StatusCode


@pytest.fixture
def web(ca):
    """A CA and an agent, and one identity for this process."""
    ca.join("a")
    ca.identity("/web", ME)
    wait_for("the certificate", lambda: ca.fetch("a").returncode == 0)
    return ca


def allow(deployment, peer):
    deployment.out("policy", "allow", "--from", f"spiffe://{TRUST_DOMAIN}/{peer}", "--to", WEB)


def matchers(secret):
    found = secret.validation_context.match_typed_subject_alt_names
    return [one.matcher.exact for one in found]


def test_a_stream_is_told_at_once_and_at_every_change(web):
    with Channel(web.socket("a")) as channel:
        stream = channel.stream()
        stream.ask("default", "peers:inbound")
        first = stream.secrets()
        assert b"BEGIN PRIVATE KEY" in first["default"].tls_certificate.private_key.inline_bytes
        assert matchers(first["peers:inbound"]) == ["nobody: the policy allows no peer"]
        version = stream.last.version_info
        stream.ask("default", "peers:inbound")
        allow(web, "client")
        changed = stream.secrets()
        assert matchers(changed["peers:inbound"]) == [f"spiffe://{TRUST_DOMAIN}/client"]
        assert changed["default"] == first["default"] and stream.last.version_info != version
        stream.ask("default", "peers:inbound")
        assert stream.is_silent()


def test_a_caller_without_an_identity_waits_for_one(ca):
    ca.join("a")
    with Channel(ca.socket("a")) as channel:
        stream, delta = channel.stream(), channel.delta()
        stream.ask("default")
        delta.say(DeltaRequest(resource_names_subscribe=["default"]))
        assert stream.is_silent() and delta.is_silent()
        with pytest.raises(grpc.RpcError) as refused:
            channel.fetch("default")
        assert refused.value.code() == Code.PERMISSION_DENIED and ME in refused.value.details()
        ca.identity("/web", ME)
        assert "default" in stream.secrets()
        assert [one.name for one in delta.next().resources] == ["default"]


def test_an_unknown_name_does_not_end_the_stream_for_others(web):
    with Channel(web.socket("a")) as channel:
        stream = channel.stream()
        stream.ask("default", "file-root:system", f"spiffe://{TRUST_DOMAIN}/payments")
        assert list(stream.secrets()) == ["default"]
        delta = channel.delta()
        delta.say(DeltaRequest(resource_names_subscribe=["default", "file-root:system"]))
        answer = delta.next()
        assert [one.name for one in answer.resources] == ["default"]
        assert list(answer.removed_resources) == ["file-root:system"]


@pytest.mark.parametrize("what, request_, words", [
    ("names", lambda: Request(resource_names=[f"name-{i}" for i in range(10000)]), "at most 1024"),
    ("a long name", lambda: Request(resource_names=["x" * 5000]), "5000 bytes"),
    ("a type", lambda: Request(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster"),
     "Cluster"),
])
def test_what_is_too_much_or_of_another_type_is_refused(web, what, request_, words):
    with Channel(web.socket("a")) as channel:
        stream = channel.stream()
        stream.say(request_())
        code, text = stream.end()
        assert code == Code.INVALID_ARGUMENT and words in text, what
        assert "default" in secrets(channel.fetch("default")), "others are served"


def test_a_storm_of_refusals_is_answered_with_silence_and_said_once(web):
    with Channel(web.socket("a")) as channel:
        stream = channel.stream()
        stream.ask("default")
        stream.next()
        for _ in range(2000):
            stream.ask("default", refuse="I do not\nwant it " + "x" * 4000)
        assert stream.is_silent()
        stream.ask("ROOTCA", refuse="still not")
        assert list(stream.secrets()) == ["ROOTCA"]
    log = next(p for p in web.processes if p.name == "linchpin-agent-a").text()
    assert log.count("secrets were refused") == 1 and "I do not\nwant" not in log


def test_a_node_of_sixty_kilobytes_in_every_request_is_taken(web):
    with Channel(web.socket("a")) as channel:
        stream = channel.stream()
        for names in (["default"], ["default", "ROOTCA"], ["ROOTCA"]) * 10:
            stream.ask(*names, node_bytes=61000)
            assert sorted(stream.secrets()) == sorted(names)


def test_one_who_accepts_trust_is_covered_and_one_who_takes_a_certificate_alone_is_not_asked(web):
    def covered():
        done = web.run("coverage", check=False)
        return done.returncode == 0

    wait_for("coverage without a consumer", covered)
    with Channel(web.socket("a")) as channel:
        certificate = channel.stream()
        certificate.ask("default")
        certificate.next()
        wait_for("the certificate's stream to need no evidence", covered)
        trust = channel.stream()
        trust.ask("peers:inbound")
        trust.next()
        wait_for("coverage to wait for the trust's stream", lambda: not covered())
        trust.ask("peers:inbound", refuse="no")
        assert trust.is_silent() and not covered()
        allow(web, "client")
        trust.next()
        trust.ask("peers:inbound")
        wait_for("coverage", covered)
        assert "accepted" in web.run("coverage", "-o", "json").stdout.lower()


def test_callers_who_do_not_read_or_vanish_harm_nobody(web):
    with Channel(web.socket("a")) as quick:
        for _ in range(50):
            with Channel(web.socket("a")) as channel:
                stream = channel.stream()
                for i in range(20):
                    stream.ask("default", f"name-{i}")
        assert "default" in secrets(quick.fetch("default"))
