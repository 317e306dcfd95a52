# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Makes the seeds in corpus/ with openssl and protoc, so that they are another implementation's."""

import pathlib
import tempfile

import seeds
import seeds_of_cases
import seeds_of_http2
from seeds import encode, openssl, pin, quoted, seed

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


def signed(work):
    """An enforced set with a proof of possession, as bytes and as a document that one signed."""
    keys = {}
    for name in ("root", "active", "backup", "alice", "bob"):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-out", work / f"{name}.key")
        keys[name] = openssl("pkey", "-in", work / f"{name}.key", "-pubout", "-outform", "DER")

    def sign(name, data):
        return openssl("dgst", "-sha256", "-sign", work / f"{name}.key", data=data)

    made_at = 1800000000
    proof = sign("backup", seeds.possession("example.org", keys["backup"], made_at))
    payload = encode("linchpin.trust.v1.PinSet", f"""
        trust_domain: "example.org" version: 3 mode: ENFORCE
        anchors {{ spki_sha256: {quoted(pin(keys["root"]))} label: "root" }}
        issuers {{ spki_sha256: {quoted(pin(keys["active"]))} role: ACTIVE }}
        issuers {{ spki_sha256: {quoted(pin(keys["backup"]))} role: BACKUP
                  proof {{ spki_der: {quoted(keys["backup"])} made_at: {made_at}
                          signature: {quoted(proof)} }} }}
        issued_at: {made_at} expires_at: 1900000000
        signers {{ keys: {quoted(keys["alice"])} keys: {quoted(keys["bob"])} threshold: 2 }}""")
    seed("pin_set", "enforced", payload)
    shown = {
        "trust_domain": "example.org", "version": 3, "mode": "enforce",
        "anchors": [{"pin": seeds.pin_text(keys["root"]), "label": "root"}],
        "issuers": [{"pin": seeds.pin_text(keys["active"]), "role": "active"},
                    {"pin": seeds.pin_text(keys["backup"]), "role": "backup",
                     "key_proved_at": "2027-01-15T08:00:00Z"}],
        "any_under_anchor": False, "issued_at": "2027-01-15T08:00:00Z",
        "expires_at": "2030-03-17T17:46:40Z", "on_expiry": "keep", "urgent": False,
        "signers": {"threshold": 2, "keys": [seeds.pin_text(keys[n]) for n in ("alice", "bob")]}}
    signatures = {keys["alice"]: sign("alice", b"linchpin pin set v1\n" + payload)}
    seed("pin_set_document", "draft", seeds.document(shown, payload, {}))
    seed("pin_set_document", "signed", seeds.document(shown, payload, signatures))
    relax = encode("linchpin.trust.v1.Relax", f"""
        trust_domain: "example.org" version: 3 scope: ISSUER_PINS issued_at: {made_at}
        latest: 1900000000 max_seconds: 21600""")
    fresh = encode("linchpin.trust.v1.Freshness", f"""
        trust_domain: "example.org" version: 3 issued_at: {made_at}
        expires_at: {made_at + 86400}""")
    seed("relax", "six_hours", relax)
    seed("freshness", "a_day", fresh)
    seed("freshness", "ends_before_time", encode("linchpin.trust.v1.Freshness", """
        trust_domain: "example.org" version: 3 issued_at: 1 expires_at: -9223372036854775808"""))
    alice, signature = next(iter(signatures.items()))
    seed("relax_document", "six_hours", seeds.relax_document(relax, payload, signatures))
    seed("relax_document", "a_day", seeds.freshness_document(fresh, signature))
    seed("pin_files", "one", seeds.pin_file(payload, pin(alice), signature, relax, fresh))


def agent_state(leaf, issuer, pkcs8, spki):
    seed("agent_state", "joined", encode("linchpin.state.v1.AgentState", f"""
        format: 1 trust_domain: "example.org" node_id: "spiffe://example.org/linchpin/node/n1"
        node_certificate {{ private_key: {quoted(pkcs8)} chain: {quoted(leaf)}
                           chain: {quoted(issuer)} renew_at_ms: 1900000000000 }}
        incarnation: "0123456789abcdef" revision: 7
        trust {{ trust_domain: "example.org" epoch: 4 anchors: {quoted(issuer)}
                issuers: {quoted(issuer)} declared_issuers: {quoted(pin(spki))} }}
        frozen_anchors: {quoted(pin(spki))} set_zero: true last_ca_time: 1900000000
        identities {{ identity_id: "i1" spiffe_id: "spiffe://example.org/web"
                     selectors: "unix:uid:1000" ttl_seconds: 3600 order: 1 }}
        rules {{ from: "spiffe://example.org/web" to: "spiffe://example.org/db" outbound: true }}
        certificates {{ identity_id: "i1" private_key: {quoted(pkcs8)} chain: {quoted(leaf)}
                       chain: {quoted(issuer)} renew_at_ms: 1900000000000 }}"""))
    seed("agent_state", "key_only", encode("linchpin.state.v1.AgentState", f"""
        format: 1 trust_domain: "example.org"
        node_certificate {{ private_key: {quoted(pkcs8)} }}"""))


def body(der):
    """What is within an element, and what follows it."""
    start, length = 2, der[1]
    if length > 0x80:
        start += length - 0x80
        length = int.from_bytes(der[2:start], "big")
    return der[start:start + length], der[start + length:]


def requests():
    """Those of the golden tests, around their keys; of other makers too."""
    golden = seeds.ROOT / "tests" / "golden"
    by_openssl = [golden / "certificates" / f"request-{name}.der"
                  for name in ("plain", "san", "foreign", "ca", "sign")]
    for path in [*by_openssl, *golden.glob("requests/*.der")]:
        pem = openssl("req", "-inform", "DER", "-in", path, "-noout", "-pubkey")
        key = openssl("pkey", "-pubin", "-outform", "DER", data=pem)
        before, after = body(body(path.read_bytes())[0])[0].split(key)
        seed("signed_request", path.stem, len(before).to_bytes(2, "big") + before + after)


def leaves():
    serial = bytes(range(1, 17))
    seed("leaf", "plain", bytes([16]) + serial + (60 << 30 | 3600).to_bytes(8, "big")
         + b"spiffe://example.org/web\nweb.example.org")
    until_2050 = 2524608000 - 1900000000
    seed("leaf", "of_2050", bytes([1, 0x80]) + (until_2050 - 1 << 30 | 1).to_bytes(8, "big")
         + b"\n".join(b"n" * size for size in range(120, 135)))


def make(work):
    leaf, issuer = certificates(work)
    seed("certificate", "leaf", leaf)
    seed("certificate", "issuer", issuer)
    seed("chain", "leaf_and_issuer",
         b"".join(len(der).to_bytes(2, "big") + der for der in (leaf, issuer)))
    seed("pem", "chain", (work / "leaf.pem").read_bytes() + (work / "issuer.pem").read_bytes())
    request = openssl("req", "-in", work / "leaf.csr", "-outform", "DER")
    seed("certificate_request", "plain", request)
    requests()
    leaves()
    seed("der", "leaf", leaf)
    pkcs8 = openssl("pkcs8", "-topk8", "-nocrypt", "-in", work / "leaf.key", "-outform", "DER")
    spki = openssl("pkey", "-in", work / "issuer.key", "-pubout", "-outform", "DER")
    signer = openssl("pkey", "-in", work / "leaf.key", "-pubout", "-outform", "DER")
    spki_pin = quoted(pin(spki))
    seed("keys", "pkcs8", pkcs8)
    seed("keys", "spki", spki)
    seed("names", "id", b"spiffe://example.org/ns/shop/web")
    seed("names", "pin", seeds.pin_text(spki).encode())
    seed("names", "duration", b"1h30m")
    seed("config", "ca", b"data_dir: /var/lib/linchpin\ntrust_domain: example.org\n"
                         b"authority:\n  root: generate\n  leaf_ttl: 1h\n")
    seed("config", "agent", b"ca: 127.0.0.1:8443\nca_pin:\n  - sha256:AA==\nrenewal_off: true\n")
    seed("pin_set", "report_only", encode("linchpin.trust.v1.PinSet", f"""
        trust_domain: "example.org" version: 3 mode: REPORT_ONLY
        anchors {{ spki_sha256: {spki_pin} label: "root" }}
        issuers {{ spki_sha256: {spki_pin} role: ACTIVE }}
        issued_at: 1800000000 expires_at: 1900000000
        signers {{ keys: {quoted(signer)} threshold: 1 }}"""))
    seed("contexts", "one_identity", encode(
        "linchpin.agent.v1.MtlsContexts", f"""
        identities {{
          spiffe_id: "spiffe://example.org/web" chain: {quoted(leaf)} chain: {quoted(issuer)}
          private_key: {quoted(pkcs8)}
          rules {{ from: "spiffe://example.org/web" to: "spiffe://example.org/db" outbound: true }}
        }}
        trust_domains {{
          trust_domain: "example.org" anchors: {quoted(issuer)} issuers: {quoted(issuer)}
          pins {{ version: 1 is_signed: true mode: ENFORCE
                 anchors: {spki_pin} issuers: {spki_pin} }}
          epoch: 4 skew_seconds: 60
        }}
        trust_epoch: 4"""))
    signed(work)
    agent_state(leaf, issuer, pkcs8, spki)
    seed("attest_request", "token", encode("linchpin.ca.v1.AttestRequest", f"""
        certificate_request: {quoted(request)} join_token: "c2VjcmV0LXRva2VuLW9mLWEtbm9kZQ" """))
    seed("attest_request", "expired", encode("linchpin.ca.v1.AttestRequest", f"""
        certificate_request: {quoted(request)} expired_certificate: {quoted(leaf)}"""))
    seed("signers_file", "one", seeds.signers_file(signer))
    seeds_of_cases.make()
    seeds_of_http2.make()
    seeds.texts()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        make(pathlib.Path(folder))
