# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Makes the seeds in corpus/ with openssl and protoc, so that they are another implementation's."""

import hashlib
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent
PROTO = HERE.parents[1] / "proto"
LEAF = """
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=URI:spiffe://example.org/web,DNS:web.example.org
"""
ISSUER = """
basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectAltName=URI:spiffe://example.org
"""


def openssl(*args, data=None):
    return subprocess.run(["openssl", *map(str, args)], input=data, check=True,
                          capture_output=True).stdout


def encode(message, file, text):
    return subprocess.run(
        ["protoc", f"--proto_path={PROTO}", f"--encode={message}", f"linchpin/{file}"],
        input=text.encode(), check=True, capture_output=True).stdout


def quoted(data):
    return '"' + "".join(f"\\{byte:03o}" for byte in data) + '"'


def seed(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def certificates(work):
    """(leaf, issuer) in DER."""
    (work / "leaf.ext").write_text(LEAF)
    (work / "issuer.ext").write_text(ISSUER)
    for name in ("issuer", "leaf"):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-out", work / f"{name}.key")
        openssl("req", "-new", "-key", work / f"{name}.key", "-subj", f"/O=Linchpin/CN={name}",
                "-out", work / f"{name}.csr")
    openssl("x509", "-req", "-in", work / "issuer.csr", "-signkey", work / "issuer.key",
            "-extfile", work / "issuer.ext", "-days", "3650", "-out", work / "issuer.pem")
    openssl("x509", "-req", "-in", work / "leaf.csr", "-CA", work / "issuer.pem", "-CAkey",
            work / "issuer.key", "-CAcreateserial", "-extfile", work / "leaf.ext", "-days", "1",
            "-out", work / "leaf.pem")
    return [openssl("x509", "-in", work / f"{name}.pem", "-outform", "DER")
            for name in ("leaf", "issuer")]


def make(work):
    leaf, issuer = certificates(work)
    seed("certificate", "leaf", leaf)
    seed("certificate", "issuer", issuer)
    seed("chain", "leaf_and_issuer",
         b"".join(len(der).to_bytes(2, "big") + der for der in (leaf, issuer)))
    seed("pem", "chain", (work / "leaf.pem").read_bytes() + (work / "issuer.pem").read_bytes())
    seed("certificate_request", "plain",
         openssl("req", "-in", work / "leaf.csr", "-outform", "DER"))
    pkcs8 = openssl("pkcs8", "-topk8", "-nocrypt", "-in", work / "leaf.key", "-outform", "DER")
    spki = openssl("pkey", "-in", work / "issuer.key", "-pubout", "-outform", "DER")
    signer = openssl("pkey", "-in", work / "leaf.key", "-pubout", "-outform", "DER")
    pin = quoted(hashlib.sha256(spki).digest())
    seed("keys", "pkcs8", pkcs8)
    seed("keys", "spki", spki)
    seed("names", "id", b"spiffe://example.org/ns/shop/web")
    seed("names", "pin", b"sha256:" + openssl("base64", "-A", data=hashlib.sha256(spki).digest()))
    seed("names", "duration", b"1h30m")
    seed("config", "ca", b"data_dir: /var/lib/linchpin\ntrust_domain: example.org\n"
                         b"authority:\n  root: generate\n  leaf_ttl: 1h\n")
    seed("config", "agent", b"ca: 127.0.0.1:8443\nca_pin:\n  - sha256:AA==\nrenewal_off: true\n")
    seed("pin_set", "report_only", encode("linchpin.trust.v1.PinSet", "trust/v1/trust.proto", f"""
        trust_domain: "example.org" version: 3 mode: REPORT_ONLY
        anchors {{ spki_sha256: {pin} label: "root" }}
        issuers {{ spki_sha256: {pin} role: ACTIVE }}
        issued_at: 1800000000 expires_at: 1900000000
        signers {{ keys: {quoted(signer)} threshold: 1 }}"""))
    seed("contexts", "one_identity", encode(
        "linchpin.agent.v1.MtlsContexts", "agent/v1/mtls_context.proto", f"""
        identities {{
          spiffe_id: "spiffe://example.org/web" chain: {quoted(leaf)} chain: {quoted(issuer)}
          private_key: {quoted(pkcs8)}
          rules {{ from: "spiffe://example.org/web" to: "spiffe://example.org/db" outbound: true }}
        }}
        trust_domains {{
          trust_domain: "example.org" anchors: {quoted(issuer)} issuers: {quoted(issuer)}
          pins {{ version: 1 is_signed: true mode: ENFORCE anchors: {pin} issuers: {pin} }}
          epoch: 4 skew_seconds: 60
        }}
        trust_epoch: 4"""))
    seed("sync_message", "change", encode("linchpin.ca.v1.CaMessage", "ca/v1/node.proto", """
        incarnation: "0123456789abcdef" revision: 7 complete: true
        identities { identity_id: "i1" spiffe_id: "spiffe://example.org/web"
                     selectors: "unix:uid:1000" ttl_seconds: 3600 order: 1 }
        rules { from: "spiffe://example.org/web" to: "spiffe://example.org/db" outbound: true }"""))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        make(pathlib.Path(folder))
