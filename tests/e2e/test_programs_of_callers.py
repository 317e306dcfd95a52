# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What a caller's program is when it is linked to, replaced or deleted."""

import hashlib
import os
import subprocess

from deployment import BIN, DEADLINE, TRUST_DOMAIN, copy_program, wait_for

WEB = f"spiffe://{TRUST_DOMAIN}/web"


def fetch_by(program, deployment, *args):
    return subprocess.run(
        [str(program), "--socket", f"unix://{deployment.socket('a')}", "fetch", *args],
        capture_output=True, text=True, timeout=DEADLINE, stdin=subprocess.DEVNULL)


def test_a_program_is_known_by_its_path_also_through_a_link_and_no_other_is(ca, tmp_path):
    web = copy_program(BIN / "linchpin", tmp_path / "web")
    os.symlink(web, tmp_path / "link")
    ca.join("a")
    ca.identity("/web", f"unix:path:{web}")
    wait_for("the certificate", lambda: fetch_by(web, ca).returncode == 0)
    assert WEB in fetch_by(tmp_path / "link", ca).stdout
    assert fetch_by(BIN / "linchpin", ca, "--timeout", "1s").returncode == 1


def test_a_program_that_was_put_in_place_of_another_is_not_that_one(ca, tmp_path):
    web = copy_program(BIN / "linchpin", tmp_path / "web")
    digest = hashlib.sha256(web.read_bytes()).hexdigest()
    ca.join("a")
    ca.identity("/web", f"unix:path:{web}", "--selector", f"unix:sha256:{digest}")
    wait_for("the certificate", lambda: fetch_by(web, ca).returncode == 0)
    with open(tmp_path / "new", "wb") as new:
        new.write(web.read_bytes() + b"another")
    os.chmod(tmp_path / "new", 0o755)
    os.replace(tmp_path / "new", web)
    assert fetch_by(web, ca, "--timeout", "1s").returncode == 1


def test_a_process_is_looked_at_again_before_it_is_given_anything_more(ca, tmp_path):
    web = copy_program(BIN / "linchpin", tmp_path / "web")
    ca.join("a")
    ca.identity("/web", f"unix:path:{web}")
    watch = ca.start("watch", [web, "--socket", f"unix://{ca.socket('a')}", "fetch", "--watch",
                               "-o", "json"])
    wait_for("the first message", lambda: WEB in watch.text())
    os.remove(web)
    # What was seen of it is good for a moment: a change that comes at once is still told.
    peers = (f"spiffe://{TRUST_DOMAIN}/peer-{i}" for i in range(1000))

    def told_that_it_is_none_of_ours():
        before = len(watch.text())
        ca.out("policy", "allow", "--from", WEB, "--to", next(peers))
        wait_for("news", lambda: len(watch.text()) > before)
        return WEB not in watch.text()[before:]

    wait_for("the end of its contexts", told_that_it_is_none_of_ours)
