# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Every certificate of the CA before verifiers that are not ours, and before a linter."""

import base64
import json
import re
import ssl
import subprocess

import pytest
import toolchains
from deployment import DEADLINE, wait_for
from mesh import ANYBODY, Thief

pytestmark = pytest.mark.peers
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)

# What zlint finds and does not matter here, each because it is a rule for public CAs. A name stands
# here only while some certificate is found to break it.
WEB_PKI_ONLY = {
    "n_ct_sct_policy_count_unsatisfied": "no public log sees an internal certificate",
    "n_mp_allowed_eku": "Mozilla wants usages in an issuer; here the leaf's profile has them",
    "n_sub_ca_eku_missing": "the same, as the Baseline Requirements say it",
    "n_ca_digital_signature_not_set": "an issuer signs no OCSP responses",
    "e_sub_cert_certificate_policies_missing": "there is one policy; nobody asks for its OID",
    "e_sub_cert_cert_policy_empty": "the same",
    "e_sub_ca_certificate_policies_missing": "the same",
    "e_invalid_ca_certificate_policies": "the same",
    "e_sub_cert_aia_missing": "no client fetches issuers: a peer sends its own",
    "w_sub_cert_aia_does_not_contain_issuing_ca_url": "the same",
    "w_sub_ca_aia_missing": "the same",
    "e_sub_ca_crl_distribution_points_missing": "revocation comes with the trust state",
    "e_ext_san_uniform_resource_identifier_present": "X509-SVID section 2 wants exactly this",
    "e_dnsname_not_valid_tld": "internal names are why this CA exists",
    "w_ext_subject_key_identifier_not_recommended_subscriber": "RFC 5280 4.2.1.2 says SHOULD",
    "e_ca_country_name_missing": "a trust domain has no country",
    "w_root_ca_basic_constraints_path_len_constraint_field_present": "a twin is as its issuer is",
}
PROGRAMMES = {"CABF_BR", "Mozilla", "Apple"}


def certificates(path):
    return PEM.findall(path.read_text())


def accepts(*args):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=DEADLINE,
                          stdin=subprocess.DEVNULL, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def openssl(anchors, chain, _):
    for purpose in ("sslserver", "sslclient"):
        verdict = accepts("openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile",
                          anchors, "-untrusted", chain, chain)
        if not verdict[0]:
            break
    return verdict


def gnutls(anchors, chain, _):
    certtool = toolchains.program("certtool")
    for purpose in ("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"):
        verdict = accepts(certtool, "--verify", "--verify-purpose", purpose,
                          "--load-ca-certificate", anchors, "--infile", chain)
        if not verdict[0]:
            break
    return verdict


def nss(anchors, chain, folder):
    certutil, vfychain = toolchains.program("certutil"), toolchains.program("vfychain")
    database = folder / f"nss-{len(list(folder.glob('nss-*')))}"
    database.mkdir()
    files = []
    for number, pem in enumerate(certificates(chain)):
        files.append(database / f"{number}.pem")
        files[-1].write_text(pem)
    assert accepts(certutil, "-N", "-d", f"sql:{database}", "--empty-password")[0]
    for number, pem in enumerate(certificates(anchors)):
        anchor = database / f"anchor-{number}.pem"
        anchor.write_text(pem)
        added = accepts(certutil, "-A", "-d", f"sql:{database}", "-n", f"anchor-{number}", "-t",
                        "CT,,", "-a", "-i", anchor)
        assert added[0], added[1]
    for usage in ("1", "0"):  # server, client
        verdict = accepts(vfychain, "-d", f"sql:{database}", "-pp", "-u", usage,
                          *(part for file in files for part in ("-a", file)))
        if not verdict[0]:
            break
    return verdict


@pytest.fixture
def verifier(request):
    if request.param == "go":
        program = request.getfixturevalue("go_verifiers")
        return lambda anchors, chain, _: accepts(program, "verify", anchors, chain)
    return {"openssl": openssl, "gnutls": gnutls, "nss": nss}[request.param]


EACH_VERIFIER = pytest.mark.parametrize("verifier", ["openssl", "gnutls", "nss", "go"],
                                        indirect=True)


class Issued:
    """What the CA has issued, in files: chains with the leaf first, and what anchors them."""

    def __init__(self, node):
        node.begin()
        node.identity("/web", ANYBODY, "--dns", "web.internal")
        self.folder = node.folder
        out = node.folder / "out"
        wait_for("the files", lambda: node.fetch("node", "--write", out).returncode == 0)
        self.web = out / "chain.pem"
        contexts = json.loads(node.fetch("node", "-o", "json").stdout)
        self.twins = node.folder / "twins.pem"
        self.twins.write_text("".join(ssl.DER_cert_to_PEM_cert(base64.b64decode(twin))
                                      for twin in contexts["trustDomains"][0]["twins"]))
        self.root = node.folder / "root.pem"
        self.root.write_text(node.out("bundle", "show", "--pem") + "\n")
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{node.ca_port}", "-alpn", "h2",
             "-showcerts"], capture_output=True, encoding="utf-8", errors="replace",
            timeout=DEADLINE, stdin=subprocess.DEVNULL, check=False).stdout
        self.ca = node.folder / "ca.pem"
        self.ca.write_text("".join(PEM.findall(shown)))
        _, issuer = certificates(self.web)
        self.issuer = node.folder / "issuer.pem"
        self.issuer.write_text(issuer)


@pytest.fixture
def issued(node):
    return Issued(node)


def subject(pem):
    return subprocess.run(["openssl", "x509", "-noout", "-subject", "-issuer"], input=pem,
                          text=True, capture_output=True, check=True).stdout


def test_twins_are_self_signed_and_bear_the_names_of_the_pinned_issuers(issued):
    twins = [subject(pem).splitlines() for pem in certificates(issued.twins)]
    assert len(twins) == 2, "the active and the backup issuer"
    for name, issuer in twins:
        assert name.removeprefix("subject=") == issuer.removeprefix("issuer=")
        assert "Linchpin issuer" in name
    active = subject(issued.issuer.read_text()).splitlines()[0]
    assert active in [name for name, _ in twins]


@EACH_VERIFIER
def test_verifiers_accept_every_chain_at_the_root_and_at_the_twins(issued, verifier):
    for anchors in (issued.root, issued.twins):
        for chain in (issued.web, issued.ca):
            accepted, why = verifier(anchors, chain, issued.folder)
            assert accepted, f"{chain.name} at {anchors.name}: {why}"


@EACH_VERIFIER
@pytest.mark.parametrize("namesake", [False, True])
def test_twins_refuse_a_rogue_issuer_under_the_true_root(node, issued, verifier, namesake):
    """Even one that bears the issuer's name. The root itself would let it in."""
    name = "/".join(part.strip() for part in
                    subject(issued.issuer.read_text()).splitlines()[0]
                    .removeprefix("subject=").replace(" = ", "=").split(","))
    chain, _ = Thief(node, f"/{name}" if namesake else None).certify("web")
    accepted, why = verifier(issued.root, chain, issued.folder)
    assert accepted, f"the thief's chain is no good: {why}"
    assert not verifier(issued.twins, chain, issued.folder)[0]


def test_openssl_accepts_issuers_twins_and_roots_for_what_they_are(issued):
    for anchors, certificate in ((issued.root, issued.issuer), (issued.root, issued.root),
                                 (issued.twins, issued.twins)):
        done = accepts("openssl", "verify", "-x509_strict", "-CAfile", anchors, certificate)
        assert done[0], done[1]


def test_the_linter_finds_nothing_but_rules_for_public_cas(issued, go_verifiers):
    linted, text = accepts(go_verifiers, "lint", issued.web, issued.ca, issued.root, issued.twins)
    assert linted, text
    assert text.count("linted ") >= 6
    found = dict(re.findall(r"^(?:info|warn|error|fatal) (\w+) (\w+)", text, re.MULTILINE))
    unexpected = {name: source for name, source in found.items() if name not in WEB_PKI_ONLY}
    assert not unexpected, text
    assert set(found.values()) <= PROGRAMMES, "a rule that is not of the Web PKI is excused"
    assert set(WEB_PKI_ONLY) <= set(found), "nothing breaks this any more: take it off the list"
