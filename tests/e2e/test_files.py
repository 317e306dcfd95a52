# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Files that `linchpin fetch --write --watch` keeps current, and who reads them meanwhile."""

import fcntl
import json
import os
import pathlib
import ssl
import subprocess

import pytest
from deployment import BIN, TRUST_DOMAIN, wait_for
from test_clocks_and_disks import fill, needs_root, small_disk  # noqa: F401
from test_crash import ME

SHORT_LIVES = "authority:\n  leaf_ttl: 4s\n  backdate: 0s\n"


@pytest.fixture
def short(deployment):
    """Leaves of four seconds: a new generation every two."""
    config = deployment.folder / "ca.yaml"
    config.write_text(SHORT_LIVES)
    deployment.start_ca("--config", config)
    deployment.join("a")
    deployment.identity("/web", ME)
    return deployment


def follow(deployment, directory, *options, name="fetch"):
    return deployment.start(name, [BIN / "linchpin", "--socket", f"unix://{deployment.socket('a')}",
                                   "fetch", "--write", directory, "--watch", *options])


def load(directory):
    """As a careful reader: one generation, however many files. -> its number"""
    generation = pathlib.Path(os.path.realpath(directory / "current", strict=True))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(generation / "chain.pem", generation / "key.pem")
    context.load_cert_chain(generation / "combined.pem")
    context.load_verify_locations(generation / "bundle.pem")
    assert json.loads((generation / "peers.json").read_text())["spiffeId"].endswith("/web")
    return int(generation.name.rsplit("-", 1)[1])


def test_a_reader_never_sees_a_key_that_is_not_its_certificates(short):
    """A hundred identities that come and go make a change each, beside the renewals."""
    out = short.folder / "tls"
    writer = follow(short, out, "--id", f"spiffe://{TRUST_DOMAIN}/web")
    wait_for("the files", (out / "current").exists)
    first = load(out)
    for i in range(100):
        short.identity(f"/other{i}", ME)
        for _ in range(20):
            load(out)
    wait_for("a hundred generations", lambda: load(out) > first + 50)
    assert writer.alive()


def test_a_writer_that_is_killed_at_any_time_leaves_whole_files(short):
    out = short.folder / "tls"
    seen = set()
    for i in range(25):
        writer = follow(short, out, name=f"fetch{i}")
        if i == 0:
            wait_for("the files", (out / "current").exists)
        for _ in range(8 * i):  # from before it begins to after it has written
            seen.add(load(out))
        writer.kill()
        seen.add(load(out))
    last = max(seen)
    follow(short, out, name="last")
    wait_for("the next generation", lambda: load(out) > last)


def test_the_command_runs_after_each_change_and_is_the_evidence(short):
    out, ran = short.folder / "tls", short.folder / "ran"
    follow(short, out, "--exec", f"sh -c 'cat {out}/chain.pem > {ran}'")
    wait_for("the first run", ran.exists)
    before = wait_for("it to be written", ran.read_text)
    wait_for("the next", lambda: ran.read_text() not in ("", before))
    covered = wait_for("the evidence", lambda: [
        c for c in consumers(short) if c.get("evidence") == "RELOADED"])
    assert covered[0]["spiffeId"] == f"spiffe://{TRUST_DOMAIN}/web"
    done = short.run("coverage", check=False)
    assert done.returncode == 0, done.stdout


def test_without_a_command_or_with_one_that_fails_there_is_no_evidence(short):
    out, broken = short.folder / "tls", short.folder / "broken"
    writer = follow(short, out, "--exec", f"test ! -e {broken}")
    wait_for("the evidence", lambda: short.run("coverage", check=False).returncode == 0)
    writer.kill()
    broken.touch()
    writer = follow(short, out, "--exec", f"test ! -e {broken}", name="failing")
    wait_for("the failure", lambda: "test exited with 1; trying again" in writer.text())
    wait_for("the first writer to be forgotten", lambda: [
        c.get("evidence") for c in consumers(short)] == ["NONE"])
    assert short.run("coverage", check=False).returncode == 1
    broken.unlink()
    wait_for("the evidence", lambda: short.run("coverage", check=False).returncode == 0)


def consumers(deployment):
    said = json.loads(deployment.run("coverage", "-o", "json", check=False).stdout)
    return [consumer for node in said["nodes"] for consumer in node["consumers"]]


@needs_root
def test_a_full_disk_keeps_the_old_files_and_is_said(short, small_disk):  # noqa: F811
    out = small_disk / "tls"
    writer = follow(short, out)
    wait_for("the files", (out / "current").exists)
    fill(small_disk)
    wait_for("the complaint", lambda: "No space left" in writer.text())
    held = load(out)
    assert writer.alive()
    (small_disk / "filler").unlink()
    wait_for("the next generation", lambda: load(out) > held)


def test_a_directory_that_is_not_its_own_is_refused_with_words(short):
    folder = short.folder / "places"
    folder.mkdir()
    (folder / "full").mkdir()
    (folder / "full/precious").write_text("data")
    (folder / "link").symlink_to(folder / "full")
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    wait_for("the identity", lambda: short.fetch("a").returncode == 0)
    for name, words in (("full", "holds something else, precious"), ("link", "symbolic link"),
                        ("open", "writable by others"), ("none/tls", "No such file")):
        done = short.fetch("a", "--write", folder / name)
        assert done.returncode == 1 and words in done.stderr, (name, done.stderr)
        if name == "none/tls":
            continue  # somebody may make it yet
        watch = follow(short, folder / name, name=f"watch-{name}")
        assert watch.wait() == 1 and words in watch.text()
    assert (folder / "full/precious").read_text() == "data"


def test_a_directory_has_one_writer_whom_nobody_else_keeps_out(short):
    out = short.folder / "tls"
    writer = follow(short, out, "--exec", "true")
    wait_for("the files", (out / "current").exists)
    second = follow(short, out, "--id", f"spiffe://{TRUST_DOMAIN}/web", name="second")
    assert second.wait() == 1 and "another process writes" in second.text()
    held = [os.open(place, os.O_RDONLY) for place in (out, out / "current", out / "chain.pem")]
    for place in held:  # as any user could
        fcntl.flock(place, fcntl.LOCK_EX)
    first = load(out)
    wait_for("the next generations", lambda: load(out) > first + 1)
    for place in held:
        os.close(place)
    assert writer.alive() and (out / ".lock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("arguments, words", [
    (["--bundle", "both"], "pinned or roots"), (["--mode", "0644"], "--mode 0644"),
    (["--exec", "'"], "a quote does not end")])
def test_what_cannot_be_meant_is_bad_usage(ca, arguments, words):
    done = subprocess.run([BIN / "linchpin", "--socket", ca.admin, "fetch", "--write", "x",
                           *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and words in done.stderr


@needs_root
def test_files_belong_to_whom_they_are_for(short):
    out = short.folder / "tls"
    wait_for("the files", lambda: short.fetch("a", "--write", out, "--owner", "nobody:nogroup",
                                              "--mode", "0440").returncode == 0)
    key = (out / "key.pem").stat()
    assert key.st_mode & 0o777 == 0o440 and key.st_uid == 65534 and key.st_gid == 65534
    assert (out / "current").stat().st_uid == 0, "nobody else can put other files in place"
    done = short.fetch("a", "--write", out, "--owner", "no-such-user")
    assert done.returncode == 1 and "no user no-such-user" in done.stderr
