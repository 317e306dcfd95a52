# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What a service gets of its agent, and when it is told of a change."""

import json
import os
import subprocess

from deployment import BIN, TRUST_DOMAIN, wait_for

ME = f"unix:uid:{os.geteuid()}"


def fetched(deployment, node, *args):
    done = deployment.fetch(node, "-o", "json", *args)
    return json.loads(done.stdout) if done.returncode == 0 else None


def test_a_registered_caller_gets_certificate_bundle_and_peers(ca):
    ca.join("a")
    ca.identity("/web", ME)
    ca.out("policy", "allow", "--from", f"spiffe://{TRUST_DOMAIN}/web", "--to",
           f"spiffe://{TRUST_DOMAIN}/payments")
    contexts = wait_for("the certificate", lambda: fetched(ca, "a"))
    assert f"spiffe://{TRUST_DOMAIN}/web" in json.dumps(contexts)
    assert f"spiffe://{TRUST_DOMAIN}/payments" in ca.fetch("a").stdout


def test_a_caller_without_policy_is_told_what_to_do(ca):
    ca.join("a")
    ca.identity("/web", ME)
    done = wait_for("the certificate", lambda: [d for d in [ca.fetch("a")] if d.returncode == 0])[0]
    assert "peers: none (linchpin policy allow" in done.stdout


def test_an_unregistered_caller_is_shown_its_selectors(ca):
    ca.join("a")
    done = ca.fetch("a", "--timeout", "2s")
    assert done.returncode == 1
    assert ME in done.stdout + done.stderr


def test_the_certificate_passes_openssl(ca, tmp_path):
    ca.join("a")
    ca.identity("/web", ME, "--dns", "web.internal")
    out = tmp_path / "out"
    wait_for("the files", lambda: ca.fetch("a", "--write", out).returncode == 0)
    chain, bundle = out / "chain.pem", out / "bundle.pem"
    verify = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", bundle, "-untrusted",
                             chain, chain], capture_output=True, text=True)
    assert verify.returncode == 0, verify.stderr
    text = subprocess.run(["openssl", "x509", "-in", chain, "-noout", "-text"], capture_output=True,
                          text=True).stdout
    assert f"URI:spiffe://{TRUST_DOMAIN}/web" in text and "DNS:web.internal" in text
    assert oct((out / "key.pem").stat().st_mode & 0o777) == "0o600"


def test_a_deleted_identity_is_told_to_its_service_and_not_renewed(ca):
    ca.join("a")
    ca.identity("/web", ME)
    wait_for("the certificate", lambda: fetched(ca, "a"))
    watch = ca.start("watch", [BIN / "linchpin", "--socket", f"unix://{ca.socket('a')}", "fetch",
                               "--watch", "-o", "json"])
    wait_for("the first message", lambda: "/web" in watch.text())
    before = len(watch.text())
    deleted = ca.json("identity", "list")["identities"][0]["identityId"]
    ca.out("identity", "delete", deleted)
    wait_for("the news of the deletion", lambda: len(watch.text()) > before)
    assert ca.fetch("a", "--timeout", "2s").returncode == 1


def test_reserved_and_foreign_identities_are_refused(ca):
    for bad in (f"spiffe://{TRUST_DOMAIN}/linchpin/ca", "spiffe://other.org/web", "spiffe://x/../y",
                f"spiffe://{TRUST_DOMAIN}", "https://example.org/web", ""):
        done = ca.run("identity", "create", "--id", bad, "--selector", ME, "--any-node",
                      check=False)
        assert done.returncode != 0 and done.stderr.strip(), bad
    assert not ca.json("identity", "list").get("identities")


def test_an_identity_needs_its_nodes_named(ca):
    done = ca.run("identity", "create", "--id", f"spiffe://{TRUST_DOMAIN}/web", "--selector", ME,
                  check=False)
    assert done.returncode == 2 and "--any-node" in done.stderr


def test_an_identity_of_another_node_is_not_served(ca):
    ca.join("a")
    ca.join("b")
    ca.out("identity", "create", "--id", f"spiffe://{TRUST_DOMAIN}/web", "--selector", ME, "--node",
           ca.node_id("b"))
    wait_for("the certificate on b", lambda: fetched(ca, "b"))
    assert ca.fetch("a", "--timeout", "2s").returncode == 1


def test_coverage_becomes_complete_and_names_the_laggard(ca):
    agent = ca.join("a")
    wait_for("full coverage", lambda: "1 of 1" in ca.run("coverage", check=False).stdout)
    agent.kill()
    key = ca.folder / "signer"
    key.mkdir()
    from test_first_contact import publish
    publish(ca, key)
    done = ca.run("coverage", check=False)
    assert done.returncode == 1 and "/linchpin/node/a" in done.stdout
    ca.start_agent("a")
    wait_for("full coverage again", lambda: "1 of 1" in ca.run("coverage", check=False).stdout)
    assert ca.run("coverage").returncode == 0
