# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The demonstration is told as it is, and fails when what it shows is not so."""

import os
import re
import subprocess
import sys

from deployment import BIN, ROOT


def demonstrate(*args):
    return subprocess.run([sys.executable, ROOT / "demo/run.py", *args], capture_output=True,
                          text=True, timeout=900, stdin=subprocess.DEVNULL,
                          env={**os.environ, "LINCHPIN_BIN": str(BIN)})


def test_no_handshake_is_refused_through_an_outage_a_rotation_and_a_failover():
    told = demonstrate()
    assert told.returncode == 0, told.stdout + told.stderr
    connections, refused = re.search(r"web → payments +(\d+) connections, (\d+) refused",
                                     told.stdout).groups()
    assert int(connections) >= 1000 and int(refused) == 0
    assert "PEER_NOT_ALLOWED" in told.stdout and "ISSUER_NOT_PINNED" in told.stdout
    assert re.search(r"refuses rotate activate: .*the gate is closed.*/linchpin/node/demo",
                     told.stdout)
    assert "the backup issuer has taken over" in told.stdout
    assert re.search(r"issuers +3, one after the other", told.stdout)


def test_without_renewal_the_demonstration_fails():
    told = demonstrate("--renewal-off", "--ttl", "20")
    assert told.returncode != 0, told.stdout
    assert "EXPIRED" in told.stdout or "expired" in told.stdout, told.stdout


def test_programs_that_are_missing_are_named():
    told = subprocess.run([sys.executable, "-B", ROOT / "demo/run.py"], capture_output=True,
                          text=True, timeout=60, stdin=subprocess.DEVNULL,
                          env={**os.environ, "LINCHPIN_BIN": "/nonexistent"})
    assert told.returncode == 2
    assert "linchpin-ca" in told.stderr and "./dev build" in told.stderr
