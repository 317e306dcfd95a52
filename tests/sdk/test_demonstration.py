# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The demonstration can fail: an agent that never renews is not passed over."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*options):
    return subprocess.run([sys.executable, "-B", str(ROOT / "demo/run.py"), *options],
                          capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
                          env={**os.environ})


def test_without_renewal_the_demonstration_fails():
    done = run("--renewal-off", "--ttl", "15")
    assert done.returncode == 1, done.stdout + done.stderr
    # It went well until then, and failed for that reason.
    assert "web       talks to spiffe://example.org/payments" in done.stdout, done.stderr
    assert "refused spiffe://example.org/stranger: PEER_NOT_ALLOWED" in done.stdout
    assert "not so: both certificates are renewed at half of their life" in done.stdout
    assert "not so: 0 connections between allowed peers were refused" in done.stdout
    assert "stranger has" not in done.stdout and "not so: web refuses" not in done.stdout


def test_programs_that_are_missing_are_named():
    done = subprocess.run([sys.executable, "-B", str(ROOT / "demo/run.py")], capture_output=True,
                          text=True, env={**os.environ, "LINCHPIN_BIN": "/nonexistent"})
    assert done.returncode == 2
    assert "linchpin-ca" in done.stderr and "./dev build" in done.stderr
