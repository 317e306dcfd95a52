# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""An issuance log whose end is gone is noticed, put back, or gone on without by a word."""

import json
import re
import shutil
import subprocess

import pytest
from deployment import wait_for
from runbook import Runbook

RUNBOOK = Runbook("lost-log")


class Logged:
    """A CA whose log has entries that the store vouches for."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.log = deployment.ca_dir / "log"
        self.config = deployment.folder / "ca.yaml"
        self.config.write_text("log_level: info\n")
        self.start()
        for name in ("a", "b"):
            deployment.join(name)
        self.entries = self.anchored()

    def start(self):
        self.deployment.start_ca("--config", self.config)

    def refused(self):
        args = self.deployment.ca_args("--config", self.config)
        done = subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1, done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("linchpin-ca: ")]
        assert len(lines) == 1, done.stderr
        return lines[0]

    def anchored(self):
        """All that was issued by now."""
        def said():
            log = self.deployment.json("log", "verify")
            entries = int(log.get("entries", 0))
            return entries if entries >= 3 and int(log.get("anchoredEntries", 0)) == entries else 0
        return wait_for("the store to vouch for all", said)

    def copy(self, name):
        target = self.deployment.folder / name
        shutil.copytree(self.log, target / "log")
        return target

    def newest(self):
        return sorted(self.log.glob("issuance-*.log"))[-1]


@pytest.fixture
def logged(deployment):
    return Logged(deployment)


def test_a_log_that_was_cut_by_a_byte_is_noticed(logged):
    logged.deployment.ca.kill()
    path = logged.newest()
    path.write_bytes(path.read_bytes()[:-1])
    line = logged.refused()
    assert f"and it had {logged.entries}" in line
    left = int(re.search(r"--accept-log-end (\d+)/", line).group(1))
    assert left < logged.entries
    assert logged.refused() == line, "nothing was changed"


def test_a_ca_that_is_killed_again_and_again_never_vouches_for_what_the_log_has_not(logged):
    for number in range(5):
        logged.deployment.ca.kill()
        logged.start()
        logged.deployment.join(f"n{number}")
    assert logged.anchored() > logged.entries


def test_it_goes_on_as_the_runbook_says(logged):
    deployment = logged.deployment
    here = {"DATA_DIR": deployment.ca_dir, "CONFIG": logged.config}
    deployment.ca.kill()
    old = logged.copy("old")
    logged.start()
    deployment.join("c")
    entries = logged.anchored()
    deployment.ca.kill()
    whole = logged.copy("whole")
    shutil.rmtree(logged.log)
    shutil.copytree(old / "log", logged.log)
    line = logged.refused()
    assert f"ends after {logged.entries} entries, and it had {entries}" in line
    RUNBOOK.run("keep", deployment, **here)
    RUNBOOK.run("put back", deployment, **here, COPY=old)
    assert logged.refused() == line
    RUNBOOK.run("put back what was found", deployment, **here)
    assert logged.refused() == line
    RUNBOOK.run("put back", deployment, **here, COPY=whole)
    logged.start()
    assert logged.anchored() >= entries

    deployment.ca.kill()
    shutil.rmtree(logged.log)
    shutil.copytree(old / "log", logged.log)
    loss = re.search(r"--accept-log-end ([0-9a-f/]+)", logged.refused()).group(1)
    for wrong, why in ((f"1{loss}", "another loss"), (loss.split("/", maxsplit=1)[0], "expected")):
        args = deployment.ca_args("--config", logged.config, "--accept-log-end", wrong)
        done = subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0 and why in done.stderr, done.stderr
    RUNBOOK.run("accept", deployment, **here, LOSS=loss)
    logged.start()
    said = RUNBOOK.run("look", deployment).stdout
    assert "intact" in said and "accept_log_end" in said
    deployment.ca.kill()
    logged.start()  # the line is still there, and means nothing any more
    RUNBOOK.run("tidy", deployment, **here)
    assert "accept" not in logged.config.read_text()
    RUNBOOK.run("revoke", deployment, ID="spiffe://example.org/web")
    deployment.out("rotate", "prepare", "--what", "issuer")
    deployment.out("rotate", "distribute", "--wait")
    deployment.out("rotate", "activate", "--wait")
    closed = deployment.run("rotate", "drain", check=False)
    assert closed.returncode == 1 and "gate is closed" in closed.stderr
    [change] = [json.loads(line) for line in
                deployment.out("log", "tail", "--changes", "-o", "json").splitlines()
                if "accept_log_end" in line]
    assert "linchpin-ca" in json.dumps(change)


def test_each_command_of_the_runbook_was_run():
    RUNBOOK.each_was_run()
