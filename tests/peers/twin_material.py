# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Certificates as Linchpin makes them, and as an attacker would, by the openssl program alone."""

import datetime
import subprocess

ISSUER_NAME = "/O=Linchpin/CN=example.org issuer 1"

CONFIG = """
[ca]
default_ca = it
[it]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
[any]
organizationName = optional
commonName = optional
[req]
distinguished_name = any
"""

CA_USAGE = ["keyUsage=critical,keyCertSign,cRLSign", "subjectAltName=URI:spiffe://example.org"]
ROOT = ["basicConstraints=critical,CA:TRUE", *CA_USAGE]
ISSUER = ["basicConstraints=critical,CA:TRUE,pathlen:0", *CA_USAGE]
HASH = "subjectKeyIdentifier=hash"


def leaf_usage(path, dns):
    return ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=serverAuth,clientAuth",
            f"subjectAltName=critical,URI:spiffe://example.org{path},DNS:{dns}"]


class Material:
    """A folder of certificates (NAME.pem, NAME.key); chains are NAME.chain, leaf first."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "index.txt").touch()
        (folder / "serial").write_text("1001\n")
        (folder / "ca.cnf").write_text(CONFIG)

    def openssl(self, *args):
        done = subprocess.run(["openssl", *map(str, args)], cwd=self.folder, capture_output=True,
                              text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"openssl {' '.join(map(str, args))}: {done.stderr}"
        return done.stdout

    def path(self, name):
        return self.folder / name

    def key(self, name):
        if not self.path(f"{name}.key").exists():
            self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                         "-out", f"{name}.key")

    def certificate(self, name, subject, issuer, extensions, key=None, starts=-1, ends=24):
        """`issuer` None: self-signed. `starts`, `ends`: hours from now."""
        key = key or name
        self.key(key)
        self.openssl("req", "-new", "-config", "ca.cnf", "-key", f"{key}.key", "-subj", subject,
                     "-out", f"{name}.csr")
        signer = ["-selfsign", "-keyfile", f"{key}.key"]
        if issuer:
            extensions = [*extensions, "authorityKeyIdentifier=keyid:always"]
            signer = ["-cert", f"{issuer}.pem", "-keyfile", f"{issuer}.key"]
        (self.folder / "extensions").write_text("\n".join(extensions) + "\n")
        now = datetime.datetime.now(datetime.timezone.utc)
        at = [f"{now + datetime.timedelta(hours=h):%Y%m%d%H%M%SZ}" for h in (starts, ends)]
        self.openssl("ca", "-batch", "-notext", "-config", "ca.cnf", *signer, "-in", f"{name}.csr",
                     "-startdate", at[0], "-enddate", at[1], "-extfile", "extensions",
                     "-preserveDN", "-out", f"{name}.pem")

    def concatenate(self, name, *parts):
        self.path(name).write_text("".join(self.path(f"{p}.pem").read_text() for p in parts))

    def chain(self, name, issuer, *above, path="/payments", dns="localhost", starts=-1, ends=1):
        """A leaf of `issuer`, sent with the issuer and what is `above` it."""
        self.certificate(name, "/O=Linchpin/CN=leaf", issuer, leaf_usage(path, dns), starts=starts,
                         ends=ends)
        self.concatenate(f"{name}.chain", name, issuer, *above)

    def key_id_of(self, name):
        text = self.openssl("x509", "-in", f"{name}.pem", "-noout", "-ext", "subjectKeyIdentifier")
        return text.splitlines()[-1].strip()


def make(folder):
    """One root with two pinned issuers, their twins, and everything that must not pass."""
    it = Material(folder)
    it.certificate("root", "/O=Linchpin/CN=example.org root", None, [*ROOT, HASH])
    it.certificate("issuer", ISSUER_NAME, "root", [*ISSUER, HASH])
    it.certificate("backup", "/O=Linchpin/CN=example.org issuer 2", "root", [*ISSUER, HASH])
    # A twin: the same subject, key, key id and constraints, signed by itself.
    it.certificate("twin", ISSUER_NAME, None, [*ISSUER, HASH], key="issuer")
    it.certificate("backup-twin", "/O=Linchpin/CN=example.org issuer 2", None, [*ISSUER, HASH],
                   key="backup")
    it.concatenate("twins.anchors", "twin", "backup-twin")
    it.concatenate("root.anchors", "root")

    it.chain("genuine", "issuer")
    it.chain("genuine-of-backup", "backup")
    it.concatenate("genuine-alone.chain", "genuine")
    it.path("genuine-alone.key").write_text(it.path("genuine.key").read_text())
    it.chain("another-peer", "issuer", path="/another")
    it.chain("another-name", "issuer", dns="other.internal")
    it.chain("expired", "issuer", starts=-2, ends=-1)

    # Signed by the true root, so whoever trusts the root takes them.
    it.certificate("rogue-issuer", "/O=Linchpin/CN=rogue", "root", [*ISSUER, HASH])
    it.chain("rogue", "rogue-issuer")
    it.chain("rogue-with-root", "rogue-issuer", "root")
    it.certificate("namesake-issuer", ISSUER_NAME, "root", [*ISSUER, HASH])
    it.chain("namesake", "namesake-issuer")
    it.certificate("lookalike-issuer", ISSUER_NAME, "root",
                   [*ISSUER, f"subjectKeyIdentifier={it.key_id_of('issuer')}"])
    it.chain("lookalike", "lookalike-issuer")
    it.chain("lookalike-beside-the-true", "lookalike-issuer", "issuer", "root")
    # With a stolen issuer key: below the issuer, which allows no CA below itself.
    it.certificate("sub-issuer", "/O=Linchpin/CN=sub", "issuer", [*ISSUER, HASH])
    it.chain("stolen-key", "sub-issuer", "issuer")
    it.chain("stolen-key-short", "sub-issuer")
    return it
