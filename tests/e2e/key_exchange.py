# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Which key agreements are offered, and which one a connection has."""

import json
import re
import socket
import subprocess

from deployment import DEADLINE, TRUST_DOMAIN, wait_for

HYBRID = "X25519MLKEM768"
NAMES = {0x11ec: HYBRID, 0x001d: "X25519", 0x0017: "P-256", 0x0018: "P-384"}
CLASSICAL = ["X25519", "P-256", "P-384"]
ALIASES = {"x25519": "X25519", "secp256r1": "P-256", "prime256v1": "P-256", "secp384r1": "P-384"}


def is_known(group):
    """To the openssl of this machine, which has the library that our programs load."""
    told = subprocess.run(["openssl", "list", "-tls-groups"], capture_output=True, text=True,
                          check=False)
    return told.returncode == 0 and group in told.stdout.split(":")


def numbers(data):
    return [int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2)]


def offers(hello):
    """A ClientHello's record -> the names of its groups, and those whose shares it brings."""
    at = 5 + 4 + 2 + 32                                   # record, message, version, random
    at += 1 + hello[at]                                   # session
    at += 2 + int.from_bytes(hello[at:at + 2], "big")     # cipher suites
    at += 1 + hello[at] + 2                               # compression; length of the extensions
    groups, shares = [], []
    while at < len(hello):
        kind, size = numbers(hello[at:at + 4])
        body, at = hello[at + 4:at + 4 + size], at + 4 + size
        if kind == 10:    # supported_groups
            groups = numbers(body[2:])
        elif kind == 51:  # key_share
            body = body[2:]
            while body:
                group, length = numbers(body[:4])
                shares.append(group)
                body = body[4 + length:]
    return [NAMES.get(g, hex(g)) for g in groups], [NAMES.get(g, hex(g)) for g in shares]


def first_flight(listener):
    """The first record that somebody who connects sends."""
    listener.settimeout(DEADLINE)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(DEADLINE)
        data = b""
        while len(data) < 5 or len(data) < 5 + int.from_bytes(data[3:5], "big"):
            more = connection.recv(65536)
            assert more, "closed before a whole ClientHello"
            data += more
        return data


def listening():
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


def group_with(port, *args):
    """What a server agrees on with this machine's `openssl s_client`; None: on nothing."""
    told = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3",
                           "-alpn", "h2", *args], capture_output=True, errors="replace",
                          stdin=subprocess.DEVNULL, timeout=DEADLINE, check=False).stdout
    found = re.search(r"Negotiated TLS1.3 group: (\S+)", told) or re.search(
        r"(?:Server|Peer) Temp Key: (?:ECDH, )?([\w-]+)", told)
    return found and ALIASES.get(found.group(1), found.group(1))


def events_of(process):
    return [json.loads(line) for line in process.text().splitlines() if line.startswith("{")]


def groups_between(deployment, server, client, node="a"):
    """Two services of one identity, by the demonstration's program at these two paths, which reach
    each other -> the groups of their first connection, as the server and as the client see it."""
    sock, me = f"unix://{deployment.socket(node)}", f"spiffe://{TRUST_DOMAIN}/web"
    count = len(deployment.processes)
    serving = deployment.start(f"server-{count}", [server, "--socket", sock, "--serve", "0"])
    ports = wait_for("the server", lambda: [e["port"] for e in events_of(serving)
                                            if e["event"] == "listening"])
    calling = deployment.start(f"client-{count}", [
        client, "--socket", sock, "--call", f"127.0.0.1:{ports[0]}", "--expect", me,
        "--connections", "1"])
    assert calling.wait() == 0, calling.text() + serving.text()
    found = [wait_for("a handshake", lambda one=one: [e["group"] for e in events_of(one) if
                                                      e["event"] == "handshake" and e["ok"]])
             for one in (serving, calling)]
    return tuple(ALIASES.get(groups[0], groups[0]) for groups in found)
