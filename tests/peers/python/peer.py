# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A workload as users of py-spiffe write it. One event a line on stdout.

usage: peer.py fetch|watch, with SPIFFE_ENDPOINT_SOCKET in the environment
"""

import logging
import sys
import threading

from spiffe import WorkloadApiClient, X509Source


def say(line):
    print(line, flush=True)


def describe(svids):
    for svid in svids:
        say(f"svid {svid.spiffe_id} {svid.leaf.serial_number:x} "
            f"certificates={len(svid.cert_chain)}")


def fetch():
    with WorkloadApiClient() as client:
        describe(client.fetch_x509_context(timeout=30).x509_svids)
        bundles = client.fetch_x509_bundles(timeout=30)
        for bundle in bundles.bundles:
            say(f"bundle {bundle.trust_domain} {len(bundle.x509_authorities)}")


def watch():
    changed = threading.Event()
    with X509Source(timeout_in_seconds=60) as source:
        source.subscribe_for_updates(changed.set)
        while not source.is_closed():
            describe(source.get_x509_context().x509_svids)
            say(f"updated {sum(len(b.x509_authorities) for b in source.bundles)}")
            while not changed.wait(0.2) and not source.is_closed():
                pass
            changed.clear()
    say("closed")


def main():
    logging.basicConfig(stream=sys.stderr)
    try:
        {"fetch": fetch, "watch": watch}[sys.argv[1]]()
    except Exception as error:
        say(f"error {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
