#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The cluster's DNS: addresses of its services, and that there is nothing else.

dns.py ADDRESS API-SERVER CA CERTIFICATE KEY
"""

import json
import socket
import ssl
import struct
import sys
import time
import urllib.request

SUFFIX = ".svc.cluster.local"
A, NO_SUCH_NAME = 1, 3
FRESH = 1.0  # seconds for which what was read is believed


class Services:
    def __init__(self, server, ca, certificate, key):
        self.url = f"{server}/api/v1/services"
        self.context = ssl.create_default_context(cafile=ca)
        self.context.load_cert_chain(certificate, key)
        self.known, self.read_at = {}, -FRESH

    def address(self, name):
        if time.monotonic() - self.read_at > FRESH:
            with urllib.request.urlopen(self.url, context=self.context, timeout=5) as answer:
                items = json.load(answer)["items"]
            self.known = {f"{i['metadata']['name']}.{i['metadata']['namespace']}{SUFFIX}":
                          i["spec"]["clusterIP"] for i in items}
            self.read_at = time.monotonic()
        address = self.known.get(name)
        return None if address in (None, "None") else address


def name_in(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels).lower(), at + 5


def answer_to(query, services):
    name, end = name_in(query)
    (kind,) = struct.unpack("!H", query[end - 4:end - 2])
    address = services.address(name) if name.endswith(SUFFIX) else None
    found = [address] if address and kind == A else []
    flags = 0x8480 | (0 if address else NO_SUCH_NAME)
    head = query[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0)
    records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", A, 1, 5, 4) + socket.inet_aton(one)
                       for one in found)
    return head + query[12:end] + records


def main():
    services = Services(*sys.argv[2:])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((sys.argv[1], 53))
        while True:
            query, caller = listener.recvfrom(512)
            try:
                listener.sendto(answer_to(query, services), caller)
            except (OSError, ValueError, IndexError, KeyError) as error:
                print(f"{caller[0]}: {error}", flush=True)


if __name__ == "__main__":
    main()
