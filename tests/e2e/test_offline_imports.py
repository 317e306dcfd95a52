# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Certificates that are wrong in one way each are refused whole, and the refusal says which way."""

import datetime
import pathlib
import shutil

import pytest
from company_ca import EXTENSIONS, CompanyCa, openssl
from deployment import Deployment, wait_for
from test_offline_root import Offline

RSA = ("RSA", "-pkeyopt", "rsa_keygen_bits:2048")


class Desk:
    """Where certificates are made: the requests of a CA that waits, and a good pair of files."""

    def __init__(self, offline):
        self.offline = offline
        self.company = offline.company
        self.folder = offline.deployment.folder / "requests"
        offline.csr("--out", self.folder)
        self.active, self.backup = self.certify("active"), self.certify("backup")
        self.made = 0

    def certify(self, state, company=None, **how):
        out = self.folder / f"{state}-{self.next()}.pem"
        return (company or self.company).certify(self.request(state), out,
                                                 *how.pop("args", ()), **how)

    def request(self, state):
        [found] = self.folder.glob(f"first-start-{state}-*.csr")
        return found

    def next(self):
        self.made = getattr(self, "made", 0) + 1
        return self.made

    def other(self, **how):
        return CompanyCa(self.offline.deployment.folder / f"company-{self.next()}", **how)

    def with_active(self, active, root=None):
        return [active, self.backup, root or self.company.root]

    def under(self, company, **how):
        """All three by another CA of the company."""
        return [self.certify("active", company, **how), self.certify("backup", company, **how),
                company.root]

    def dated(self, starts, ends):
        """An active issuer with these dates, by `openssl ca`, which `openssl x509` cannot give."""
        folder = self.folder / f"ca-{self.next()}"
        folder.mkdir()
        (folder / "index.txt").write_text("")
        (folder / "serial").write_text("1000\n")
        extensions = "\n".join(f"{key} = {value}" for key, value in EXTENSIONS.items())
        config = folder / "ca.cnf"
        config.write_text(
            f"[ca]\ndefault_ca = own\n[own]\ndatabase = {folder}/index.txt\n"
            f"serial = {folder}/serial\nnew_certs_dir = {folder}\ndefault_md = sha256\n"
            f"policy = any\nx509_extensions = wanted\nunique_subject = no\n"
            f"[any]\nO = optional\nCN = supplied\n[wanted]\n{extensions}\n")
        out = folder / "active.pem"
        now = datetime.datetime.now(datetime.timezone.utc)
        start, end = [(now + datetime.timedelta(hours=h)).strftime("%Y%m%d%H%M%SZ")
                      for h in (starts, ends)]
        openssl("ca", "-batch", "-notext", "-config", config, "-cert", self.company.root,
                "-keyfile", self.company.key, "-startdate", start, "-enddate", end,
                "-in", self.request("active"), "-out", out)
        return out

    def stranger(self):
        key, request = self.folder / "stranger.key", self.folder / "stranger.csr"
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", "/CN=stranger", "-out", request)
        return self.company.certify(request, self.folder / "stranger.pem")

    def intermediate(self):
        """A CA under the company's root."""
        made = self.other(name="Example Corp Intermediate")
        made.root = self.company.certify(
            made.folder / "root.csr", made.folder / "intermediate.pem",
            extensions={"basicConstraints": "critical,CA:TRUE"})
        return made

    def written(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path


def cut(path):
    lines = path.read_text().splitlines(keepends=True)
    return "".join(lines[:len(lines) // 2])


BAD = {
    "a key that was not asked for":
        (lambda d: [*d.with_active(d.active), d.stranger()], "not one that was asked for"),
    "one is missing":
        (lambda d: [d.active, d.company.root], "backup issuer"),
    "the root is missing":
        (lambda d: [d.active, d.backup], "root's own certificate is missing"),
    "signed by another root of the same name":
        (lambda d: d.with_active(d.certify("active", d.other())), "not signed by"),
    "two roots":
        (lambda d: [*d.with_active(d.active), d.other().root], "another root"),
    "an intermediate in place of the root":
        (lambda d: d.under(d.intermediate()), "not self-signed"),
    "an intermediate between":
        (lambda d: [*d.under(d.intermediate()), d.company.root], "intermediate"),
    "a root that is no CA":
        (lambda d: d.under(d.other(extensions={"basicConstraints": "critical,CA:FALSE"})),
         "no CA"),
    "a root with path length 0":
        (lambda d: d.under(d.other(extensions={"basicConstraints": "critical,CA:TRUE,pathlen:0"})),
         "path length is 0"),
    "a root that may not sign certificates":
        (lambda d: d.under(d.other(extensions={"keyUsage": "critical,cRLSign"})), "keyCertSign"),
    "a root without a key identifier":
        (lambda d: d.under(d.other(extensions={"subjectKeyIdentifier": "none"}),
                           extensions={"authorityKeyIdentifier": None}),
         "no subject key identifier"),
    "a root that is constrained to names":
        (lambda d: d.under(d.other(extensions={
            "nameConstraints": "critical,permitted;DNS:example.com"})), "name constraints"),
    "a root signed with SHA-1":
        (lambda d: d.under(d.other(key=RSA, digest="-sha1")), "weak algorithm"),
    "a root of 1024 bits":
        (lambda d: d.under(d.other(key=("RSA", "-pkeyopt", "rsa_keygen_bits:1024"))), "RSA"),
    "an issuer that is no CA":
        (lambda d: d.with_active(d.certify("active", extensions={
            "basicConstraints": "critical,CA:FALSE"})), "no CA"),
    "an issuer without a path length":
        (lambda d: d.with_active(d.certify("active", extensions={
            "basicConstraints": "critical,CA:TRUE"})), "pathlen:0"),
    "an issuer with path length 1":
        (lambda d: d.with_active(d.certify("active", extensions={
            "basicConstraints": "critical,CA:TRUE,pathlen:1"})), "pathlen:0"),
    "an issuer that may not sign certificates":
        (lambda d: d.with_active(d.certify("active", extensions={
            "keyUsage": "critical,cRLSign"})), "keyCertSign"),
    "an issuer without key usage":
        (lambda d: d.with_active(d.certify("active", extensions={"keyUsage": None})),
         "no key usage"),
    "an issuer without a key identifier":
        (lambda d: d.with_active(d.certify("active", extensions={
            "subjectKeyIdentifier": "none"})), "no subject key identifier"),
    "an issuer without its root's key identifier":
        (lambda d: d.with_active(d.certify("active", extensions={
            "authorityKeyIdentifier": "none"})), "no authority key identifier"),
    "an issuer whose basic constraints are not critical":
        (lambda d: d.with_active(d.certify("active", extensions={
            "basicConstraints": "CA:TRUE,pathlen:0"})), "not critical"),
    "an issuer that is constrained to names":
        (lambda d: d.with_active(d.certify("active", extensions={
            "nameConstraints": "critical,permitted;URI:example.com"})), "name constraints"),
    "an issuer with constraints of policies":
        (lambda d: d.with_active(d.certify("active", extensions={
            "policyConstraints": "critical,requireExplicitPolicy:0"})), "policy constraints"),
    "an issuer that inhibits any policy":
        (lambda d: d.with_active(d.certify("active", extensions={
            "inhibitAnyPolicy": "critical,0"})), "policy constraints"),
    "an issuer that maps policies":
        (lambda d: d.with_active(d.certify("active", extensions={
            "policyMappings": "critical,1.2.3.4:1.2.3.5"})), "policy mappings"),
    "an issuer with more text than ends can be sent":
        (lambda d: d.with_active(d.certify("active", extensions={"nsComment": "x" * 9000})),
         "more than the 8192"),
    "a critical extension that nobody knows":
        (lambda d: d.with_active(d.certify("active", extensions={
            "1.3.6.1.4.1.99999.7": "critical,DER:0500"})), "1.3.6.1.4.1.99999.7"),
    "an issuer for servers alone":
        (lambda d: d.with_active(d.certify("active", extensions={
            "extendedKeyUsage": "serverAuth"})), "clientAuth"),
    "an issuer of another trust domain":
        (lambda d: d.with_active(d.certify("active", extensions={
            "subjectAltName": "URI:spiffe://other.org"})), "spiffe://other.org"),
    "an issuer with a path in its name":
        (lambda d: d.with_active(d.certify("active", extensions={
            "subjectAltName": "URI:spiffe://example.org/web"})), "spiffe://example.org"),
    "an issuer with the root's subject":
        (lambda d: d.with_active(d.certify(
            "active", subject="/O=Example Corp/CN=Example Corp Root")), "subject"),
    "two issuers with one subject":
        (lambda d: [d.certify("active", subject="/CN=one"), d.certify("backup", subject="/CN=one"),
                    d.company.root], "one of its own"),
    "two issuers whose subjects differ in case alone":
        (lambda d: [d.certify("active", subject="/CN=One"), d.certify("backup", subject="/CN=one"),
                    d.company.root], "one of its own"),
    "an issuer signed with SHA-1":
        (lambda d: d.with_active(d.certify("active", args=("-sha1",))), "weak algorithm"),
    "an issuer that outlives the root":
        (lambda d: d.with_active(d.certify("active", days=4000)), "lifetimes nest"),
    "an issuer that is not valid yet":
        (lambda d: d.with_active(d.dated(2, 48)), "valid from"),
    "an issuer that has expired":
        (lambda d: d.with_active(d.dated(-48, -2)), "expired at"),
    "the same twice":
        (lambda d: [*d.with_active(d.active), d.active], "given twice"),
    "two for one key":
        (lambda d: [*d.with_active(d.active), d.certify("active")], "for the same key"),
    "a certificate that is cut off":
        (lambda d: d.with_active(d.written("cut.pem", cut(d.active))), "cut.pem"),
    "no certificate":
        (lambda d: d.with_active(d.written("empty.pem", "")), "empty.pem"),
    "a request in place of its certificate":
        (lambda d: d.with_active(d.request("active")), "CERTIFICATE REQUEST"),
    "the root's key in the file":
        (lambda d: [d.active, d.backup, d.written(
            "both.pem", d.company.root.read_text() + d.company.key.read_text())], "private key"),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """One CA for all: nothing that is refused changes it."""
    deployment = Deployment(tmp_path_factory.mktemp("offline"))
    offline = Offline(deployment)
    offline.start()
    yield Desk(offline)
    deployment.stop()


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_certificate_is_refused_and_nothing_is_imported(desk, name):
    make, said = BAD[name]
    asked = desk.offline.csr().stdout
    refused = desk.offline.import_(*make(desk), check=False)
    assert refused.returncode == 1, refused.stdout
    assert said in refused.stderr, refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert desk.offline.csr().stdout == asked


def test_an_issuer_too_short_for_what_it_is_to_issue_is_refused(deployment):
    offline = Offline(deployment, "authority:\n  root: external\n")
    offline.start()
    desk = Desk(offline)
    refused = offline.import_(*desk.with_active(desk.dated(-1, 12)), check=False)
    assert refused.returncode == 1 and "sooner" in refused.stderr, refused.stderr


@pytest.mark.parametrize("key", [RSA, ("EC", "-pkeyopt", "ec_paramgen_curve:P-521"), ("ED25519",)],
                         ids=["rsa", "p521", "ed25519"])
def test_roots_of_other_kinds_and_subjects_of_their_own_are_taken(deployment, key):
    offline = Offline(deployment)
    shutil.rmtree(offline.company.folder)
    digest = "-sha384" if key[0] != "ED25519" else "-sha512"
    offline.company = CompanyCa(pathlib.Path(deployment.folder / "company"), key=key,
                                digest=digest)
    offline.start()
    desk = Desk(offline)
    issuers = [desk.certify("active", subject="/O=Example Corp/CN=Mesh issuing 1"),
               desk.certify("backup", subject="/O=Example Corp/CN=Mesh issuing 2")]
    offline.import_(*issuers, offline.company.root)
    shown = deployment.out("ca", "pins")
    assert "Mesh issuing 1" in shown and "Mesh issuing 2" in shown
    assert deployment.join("a").alive()
    wait_for("the agent", lambda: "1 of 1" in deployment.run("coverage", check=False).stdout)
