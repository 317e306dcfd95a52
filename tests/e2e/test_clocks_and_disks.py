# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A clock that is off is named with both times; a full disk costs nothing that was there."""

import errno
import os
import pathlib
import re
import subprocess

import pytest

from deployment import wait_for
from test_crash import ME, served

TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
FAKETIME = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
needs_faketime = pytest.mark.skipif(not FAKETIME, reason="needs faketime")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


def fake(offset):
    """A clock that is off, as the program under test sees it; real time passes as it does. (Not
    by the faketime command: it stays as the parent, and killing it would leave the program.)"""
    return {"LD_PRELOAD": str(FAKETIME[0]), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@needs_faketime
@pytest.mark.parametrize("offset", ["+2d", "-1h"])
def test_an_agent_whose_clock_is_off_names_both_times(ca, offset):
    token = ca.folder / "token"
    token.write_text(ca.out("node", "token", "--ttl", "10m", "--node", "a"))
    args = ca.agent_args("a", "--ca-pin", ca.root_pin(), "--join-token-file", token)
    agent = ca.start("skewed", args, env=fake(offset))
    wait_for("a complaint that names two times",
             lambda: [line for line in agent.text().splitlines()
                      if "clock" in line and len(set(TIMES.findall(line))) >= 2])


@needs_faketime
def test_a_ca_whose_clock_is_an_hour_ahead_is_noticed(deployment):
    args = deployment.ca_args()
    deployment.ca = deployment.start("linchpin-ca", args, env=fake("+1h"))
    wait_for("the CA's admin socket", deployment.ca_answers)
    agent = deployment.join("a")
    wait_for("a complaint that names two times",
             lambda: [line for line in agent.text().splitlines()
                      if "clock" in line and len(set(TIMES.findall(line))) >= 2])


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    """Takes the last byte of the disk."""
    filler = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
    for size in (4096, 1):
        try:
            while os.write(filler, b"x" * size):
                pass
        except OSError as full:
            assert full.errno == errno.ENOSPC
    os.close(filler)


@needs_root
def test_a_ca_on_a_full_disk_refuses_changes_and_keeps_what_it_had(deployment, small_disk):
    deployment.ca_dir = small_disk / "ca"
    deployment.admin = deployment.ca_dir / "admin.sock"
    deployment.start_ca()
    deployment.identity("/kept", ME)
    fill(small_disk)
    refused = wait_for("a refusal", lambda: [d for d in [deployment.run(
        "identity", "create", "--id", f"spiffe://example.org/s{os.urandom(4).hex()}", "--selector",
        ME, "--any-node", "--dns", "x" * 60, check=False)] if d.returncode != 0])[0]
    assert "full" in refused.stderr or "space" in refused.stderr, refused.stderr
    kept = deployment.json("identity", "list")["identities"]
    deployment.ca.kill()
    (small_disk / "filler").unlink()
    deployment.start_ca()
    assert deployment.json("identity", "list")["identities"] == kept
    deployment.identity("/after", ME)


@needs_root
def test_an_agent_on_a_full_disk_goes_on_serving(ca, small_disk, monkeypatch):
    monkeypatch.setattr(ca, "agent_dir", lambda name: small_disk / name)
    agent = ca.join("a")
    ca.identity("/web", ME)
    wait_for("the certificate", lambda: served(ca, "a"))
    fill(small_disk)
    ca.identity("/more", f"{ME}")
    wait_for("the complaint", lambda: "sealed" in agent.text() and
             ("full" in agent.text() or "space" in agent.text()))
    assert served(ca, "a")
    agent.kill()
    again = ca.start("again", ca.agent_args("a"))
    wait_for("the sealed certificate", lambda: not again.alive() or served(ca, "a"))
    assert again.alive(), again.text()
