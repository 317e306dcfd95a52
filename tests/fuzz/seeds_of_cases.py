# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Seeds of the targets whose input is a message of cases.proto, and of the issuance log's bytes."""

import hashlib
import struct

from seeds import encode, quoted, seed

SET = """trust_domain: "example.org" version: %d mode: %s issued_at: 1899999000
         expires_at: 1930000000 signers { threshold: %d }"""


def offer(version, mode="ENFORCE", threshold=1, signers=(0,), signed_by=(0,), issuers=(1, 3)):
    """Number 3 is `backup` as a role: 3 % 4; see PinSetOffer."""
    return (f"set {{ {SET % (version, mode, threshold)} }} anchors: 0 "
            + " ".join(f"signers: {n}" for n in signers)
            + " ".join(f" signed_by: {n}" for n in signed_by)
            + " ".join(f" issuers: {n}" for n in issuers))


def case(target, name, message, text):
    seed(target, name, encode(f"linchpin.fuzz.{message}", text))


def pin_sets():
    case("pin_sets", "one", "PinSetCase", f"signers: 0 offers {{ {offer(1)} }}")
    case("pin_sets", "signers_change", "PinSetCase", f"""
        signers: 0 signers: 1 threshold: 1 minimum_version: 2 first_contact: true
        offers {{ {offer(1, threshold=2, signers=(0, 1), signed_by=(0, 1))} }}
        offers {{ {offer(2, threshold=2, signers=(2, 3), signed_by=(0, 1, 2, 3))} }}
        offers {{ {offer(5, mode="REPORT_ONLY", signers=(2,), signed_by=(2, 3))} }}""")
    case("pin_sets", "set_zero_ends", "PinSetCase", f"""
        offers {{ {offer(4, signers=(0, 1, 2), threshold=2, signed_by=(2, 1))} }}""")
    case("pin_sets", "appended", "PinSetCase", f"""
        signers: 0 offers {{ {offer(1)} appended: "\\020\\002" }}""")


def trust_states():
    state = 'state { trust_domain: "example.org" epoch: %d } anchors: 0 issuers: 1 issuers: 2'
    case("trust_state", "set_zero", "TrustCase", f"""
        set_zero: true
        offers {{ {state % 1} declared_issuers: 1 declared_issuers: 2 }}
        offers {{ {state % 2} declared_issuers: 2 later_seconds: 60 }}
        offers {{ {state % 3} pin_sets {{ {offer(1)} }} }}""")
    case("trust_state", "signed", "TrustCase", f"""
        signers: 0
        offers {{ {state % 1} pin_sets {{ {offer(1)} }} }}
        offers {{ {state % 2} pin_sets {{ {offer(2)} }} later_seconds: 3600 }}
        offers {{ {state % 1} epoch_may_regress: true }}""")
    case("trust_state", "revocations", "TrustCase", """
        set_zero: true offers { state { trust_domain: "example.org" epoch: 9
          revocations { spiffe_id: "spiffe://example.org/web" issued_before: 1899999999
                        lapses_at: 1900009999 reason: "stolen" }
          revocations { serial: "\\001\\002" lapses_at: 1900009999 }
          revocations { key_sha256: "01234567890123456789012345678901" lapses_at: 1900009999 } }
          anchors: 0 issuers: 1 declared_issuers: 1 }""")


def chains():
    case("judge", "web", "ChainCase", "chain { known: 0 } chain { known: 1 } inbound: true")
    case("judge", "web_by_name", "ChainCase", "chain { known: 0 } expect: 1")
    case("judge", "stranger", "ChainCase", "chain { known: 4 } chain { known: 5 } inbound: true")
    case("judge", "unpinned", "ChainCase", "chain { known: 8 } chain { known: 3 } expect: 1")
    case("judge", "node", "ChainCase", "chain { known: 7 } chain { known: 1 } expect: 3")
    case("judge", "late", "ChainCase", "chain { known: 0 } later_seconds: 3661")
    case("judge", "longer_length", "ChainCase",
         'chain { known: 0 at: 1 dropped: 1 patch: "\\203\\000" }')


MESSAGE = 'incarnation: "store" revision: %d ca_time: 1900000000'
IDENTITY = """identities { identity_id: "%s" spiffe_id: "spiffe://example.org/%s"
              selectors: "unix:uid:1000" ttl_seconds: 3600 order: 1 hint: "a hint" }"""
RULE = 'rules { from: "spiffe://example.org/web" to: "spiffe://example.org/db" outbound: true }'


def sync():
    for target in ("sync_messages", "agent_sync"):
        case(target, "change", "SyncCase", f"""
            messages {{ {MESSAGE % 3} complete: true {IDENTITY % ("i2", "db")} {RULE} }}""")
        case(target, "snapshot", "SyncCase", f"""
            messages {{ {MESSAGE % 9} reset: true {IDENTITY % ("i1", "web")}
                        trust {{ trust_domain: "example.org" epoch: 2 }} }}
            messages {{ {MESSAGE % 9} part: 1 {RULE} }}
            messages {{ {MESSAGE % 9} part: 2 complete: true }}
            messages {{ {MESSAGE % 10} base_revision: 9 complete: true removed_identities: "i1"
                        removed_rules {{ from: "spiffe://example.org/web"
                                         to: "spiffe://example.org/db" }} }}""")
        case(target, "goodbye", "SyncCase", f"""
            messages {{ {MESSAGE % 3} goodbye {{ reconnect_after_ms: 100 }} }}""")


def nodes():
    consumer = """consumers { consumer_id: "c1" spiffe_id: "spiffe://example.org/web"
                  trust_epoch: 1 trust_digest: "0123" evidence: IN_FORCE }"""
    case("node_messages", "life", "NodeCase", f"""
        events {{ says {{ hello {{ revision: 1 trust_epoch: 1 {consumer} agent_version: "1" }} }} }}
        events {{ says {{ ack {{ revision: 2 trust_epoch: 1 {consumer} gone: "c0" }} }} }}
        events {{ issue: "/web" }}
        events {{ second_node: true says {{ ack {{ refused: "too old" }} }} }}
        events {{ says {{ verdicts {{ refusals {{ reason: NO_CERTIFICATE
                  self_id: "spiffe://example.org/web" peer_id: "x" count: 3 }} }} }} }}
        events {{ asks_trust {{ trust_domain: "example.org" }} }}
        events {{ goes: true }}""")
    # 2048 bytes of it are kept: in the middle of a letter.
    refused = quoted(b"x" + "\u00e9".encode() * 1500)
    case("node_messages", "long_refusal", "NodeCase",
         f"events {{ says {{ ack {{ refused: {refused} }} }} }}")


def check(data):
    return data + hashlib.sha256(data).digest()[:8]


def field(data):
    return struct.pack(">Q", len(data)) + data


def log_bytes():
    """A segment of two frames, by the description in ca/log/log_format.h."""
    before, segment = bytes(32), check(b"LPINLG01" + struct.pack("<Q", 5) + bytes(32))
    index = 5
    for entries in (2, 1):
        payload = b""
        for _ in range(entries):
            entry = encode("linchpin.ca.v1.LogEntry", f"""
                index: {index} issued_at: 1800000000 spiffe_id: "spiffe://example.org/web"
                serial: "12345678" """)
            record = b"\x0a" + bytes([len(entry)]) + entry
            before = hashlib.sha256(field(b"linchpin issuance log entry v1") + field(before)
                                    + field(record)).digest()
            payload += struct.pack("<I", len(record)) + before + record
            index += 1
        segment += check(struct.pack("<II", len(payload), entries)) + check(payload)
    return segment


def logs():
    seed("log_segment", "two_frames", log_bytes())
    seed("log_segment", "torn", log_bytes()[:-9])
    entry = 'entries { issued_at: 1800000000 spiffe_id: "spiffe://example.org/web" serial: "1" }'
    case("log", "two_frames", "LogCase",
         f"first_index: 7 frames {{ {entry} {entry} }} frames {{ {entry} }}")
    case("log", "torn", "LogCase", f"frames {{ {entry} }} frames {{ {entry} }} cut: 9 zeros: 4")
    case("log", "damaged", "LogCase",
         f"frames {{ {entry} }} frames {{ {entry} }} flip_at: 200 flip: 1")
    case("log", "odd_payload", "LogCase", f"""
        frames {{ payload: {quoted(bytes([4, 0, 0, 0]) + bytes(32) + bytes(4))} count: 1 }}
        tail: "LPINLG01" """)


def store():
    case("store_records", "all", "StoreCase", """
        records { key: "meta" meta { format: 1 trust_domain: "example.org" incarnation: "01" } }
        records { key: "authority/root/00" authority { state: "active" key_name: "root" } }
        records { key: "trust" trust { epoch: 3 pin_sets { payload: "x" } } }
        records { key: "node/n1" node { node_id: "spiffe://example.org/linchpin/node/n1"
                                        state: "attested" serial: "1" } }
        records { key: "token/00" token { node_id: "spiffe://example.org/linchpin/node/n2" } }
        records { key: "identity/i1" identity { order: 1 identity { identity_id: "i1"
                  spiffe_id: "spiffe://example.org/web" any_node: true } } }
        records { key: "identity/i2" identity { order: 2 identity { identity_id: "i2"
                  spiffe_id: "spiffe://example.org/db"
                  node_ids: "spiffe://example.org/linchpin/node/n1" } } }
        records { key: "policy/a|b" policy { rule { from: "spiffe://example.org/web"
                  to: "spiffe://example.org/db" outbound: true inbound: true } } }
        records { key: "revocation/1" revocation { revocation { serial: "1" } } }""")


def dialogues():
    kind = 'type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"'
    node = 'node { id: "e" }'
    case("secret_dialogue", "whole", "DialogueCase", f"""
        steps {{ contexts: 5 }}
        steps {{ whole {{ {node} {kind} resource_names: "default"
                          resource_names: "peers:inbound" }} }}
        steps {{ whole {{ {kind} resource_names: "default" resource_names: "peers:inbound"
                          response_nonce: "last" error_detail {{ code: 3 message: "no" }} }} }}
        steps {{ whole {{ {kind} resource_names: "*" response_nonce: "last" }} }}
        steps {{ contexts: 19 }} steps {{ contexts: 0 }}""")
    case("secret_dialogue", "delta", "DialogueCase", f"""
        steps {{ delta {{ {node} {kind} resource_names_subscribe: "ROOTCA"
                          resource_names_subscribe: "peers:outbound:spiffe://example.org/callee"
                          initial_resource_versions {{ key: "default" value: "1" }} }} }}
        steps {{ contexts: 9 }} steps {{ delta {{ {kind} response_nonce: "last" }} }}
        steps {{ delta {{ {kind} resource_names_subscribe: "*"
                          resource_names_unsubscribe: "ROOTCA" }} }}
        steps {{ contexts: 33 }}""")


def make():
    for group in (pin_sets, trust_states, chains, sync, nodes, dialogues, logs, store):
        group()
