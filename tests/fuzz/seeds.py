# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What make_corpus.py writes with, and the seeds that are plain texts."""

import base64
import hashlib
import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
# The file that declares the messages of a package.
FILES = {
    "linchpin.trust.v1": ["linchpin/trust/v1/trust.proto"],
    "linchpin.agent.v1": ["linchpin/agent/v1/mtls_context.proto"],
    "linchpin.ca.v1": ["linchpin/ca/v1/admin.proto"],
    "linchpin.state.v1": ["linchpin/state/v1/agent_state.proto"],
    "linchpin.fuzz": ["tests/fuzz/cases.proto"],
}


def openssl(*args, data=None):
    return subprocess.run(["openssl", *map(str, args)], input=data, check=True,
                          capture_output=True).stdout


def encode(message, text):
    return subprocess.run(
        ["protoc", f"--proto_path={ROOT / 'proto'}", f"--proto_path={ROOT}",
         f"--encode={message}", *FILES[message.rsplit(".", 1)[0]]],
        input=text.encode(), check=True, capture_output=True).stdout


def quoted(data):
    return '"' + "".join(f"\\{byte:03o}" for byte in data) + '"'


def seed(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def pin(spki):
    return hashlib.sha256(spki).digest()


def base64_text(data):
    return base64.b64encode(data).decode()


def pin_text(spki):
    return "sha256:" + base64_text(pin(spki))


def possession(trust_domain, spki, made_at):
    return (f"linchpin issuer key possession v1\n{trust_domain}\n{pin_text(spki)}\n"
            f"{made_at}\n").encode()


def document(shown, payload, signatures):
    return json.dumps({
        "linchpin_pin_set": 1, "pin_set": shown, "payload": base64_text(payload),
        "signatures": [{"key": pin_text(key), "signature": base64_text(signature)}
                       for key, signature in signatures.items()]}, indent=2).encode()


def relax_document(relax, set_payload, signatures):
    listed = [{"key": pin_text(key), "signature": base64_text(signature)}
              for key, signature in signatures.items()]
    return json.dumps({
        "linchpin_relax": 1,
        "relax": {"trust_domain": "example.org", "version": 3, "relaxes": "issuer pins",
                  "issued_at": "2027-01-15T08:00:00Z", "latest": "2030-03-17T17:46:40Z",
                  "for_at_most": "6h"},
        "payload": base64_text(relax), "signatures": listed,
        "set": {"payload": base64_text(set_payload), "signatures": listed}}, indent=2).encode()


def freshness_document(statement, signature):
    return json.dumps({
        "linchpin_freshness": 1,
        "freshness": {"trust_domain": "example.org", "newest_version": 3,
                      "issued_at": "2027-01-15T08:00:00Z", "expires_at": "2027-01-16T08:00:00Z"},
        "payload": base64_text(statement), "signature": base64_text(signature)}, indent=2).encode()


def pin_file(payload, key_id, signature, relax, statement):
    return json.dumps({
        "trustDomain": "example.org",
        "pinSets": [{"payload": base64_text(payload),
                     "signatures": [{"keyId": base64_text(key_id),
                                     "signature": base64_text(signature)}]}],
        "relax": {"payload": base64_text(relax)},
        "freshness": {"payload": base64_text(statement)}}, indent=2).encode()


def signers_file(spki):
    return json.dumps({"trustDomain": "example.org",
                       "signers": {"keys": [base64_text(spki)], "threshold": 1},
                       "minimumVersion": "3"}).encode()


CA_CONFIG = b"""\
# every field
data_dir: /var/lib/linchpin
trust_domain: example.org
listen: "[::1]:8443"
admin_socket: unix:///run/linchpin/admin.sock
metrics: off
datastore: sqlite:///var/lib/linchpin/store.db
authority: {root: generate, root_ttl: 87600h, issuer_ttl: 2160h, leaf_ttl: 1h30m,
            node_ttl: 24h, backdate: 0s, key_type: p384}
log_level: 'debug'
"""
AGENT_CONFIG = b"""\
data_dir: /var/lib/linchpin
trust_domain: example.org
ca: ca.example.org:8443
ca_pin:
  - sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  - "sha256:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
join_token_file: >-
  /run/token
node_attestor: join_token
socket: unix:///run/linchpin/agent.sock
metrics: 127.0.0.1:9465
log_level: info
skew: 2m
renewal_off: false
"""
STAT = b"4242 (a) b (c)) S 1 4242 4242 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0 1844\n"
REQUESTS = {
    "get": b"GET /metrics HTTP/1.1\r\nHost: localhost:9464\r\nAccept: */*\r\n\r\n",
    "head": b"HEAD /readyz HTTP/1.0\r\n\r\n",
    "query": b"GET /healthz?a=%00&b=%2e%2e/ HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n",
    "post": b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "chunked": b"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"5\r\nhello\r\n0\r\n\r\n",
    "upgrade": b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
               b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n",
    "authorized": b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n"
                  b"Authorization: Digest x=\"\r\n\r\n",
}


def texts():
    for target in ("config", "settings"):
        seed(target, "ca_full", CA_CONFIG)
        seed(target, "agent_full", AGENT_CONFIG)
    seed("names", "long_id", b"spiffe://" + b"a" * 255 + b"/" + b"b" * 1783)
    seed("names", "reserved", b"spiffe://example.org/linchpin/node/n1")
    seed("names", "durations", b"-1.5h3us")
    seed("local_texts", "stat", STAT)
    seed("local_texts", "token", b"c2VjcmV0LXRva2VuLW9mLWEtbm9kZQ\n")
    seed("local_texts", "address", b"[fe80::1%25eth0]:8443")
    seed("local_texts", "socket", b"unix:///run/linchpin/admin.sock")
    seed("http2_preface", "settings", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0"
                                      b"\0\x03\0\0\0\x64")
    seed("http2_preface", "http1", REQUESTS["get"])
    for name, request in REQUESTS.items():
        seed("metrics_request", name, request)
    seed("pem", "garnished", b"a comment\r\n-----BEGIN PUBLIC KEY-----\r\nMAA=\r\n"
                             b"-----END PUBLIC KEY-----\r\n\r\n-----BEGIN X-----\n-----END X-----")
    seed("sealed", "text", b"anything")
