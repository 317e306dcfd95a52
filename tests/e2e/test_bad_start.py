# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A start that cannot work ends with one clear line and an exit code; nothing on disk changes."""

import os
import sqlite3
import subprocess

import pytest

from deployment import BIN, DEADLINE, TRUST_DOMAIN


def run(*args):
    return subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=DEADLINE,
                          stdin=subprocess.DEVNULL)


def one_line(done, code, *words):
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.strip().splitlines()
             if line and " info linchpin-" not in line]  # how it is sandboxed is said first
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], lines[0]


@pytest.mark.parametrize("program", ["linchpin-ca", "linchpin-agent", "linchpin"])
def test_each_program_has_help_and_a_version(program):
    assert "--help" in run(BIN / program, "--help").stdout
    assert run(BIN / program, "--version").stdout.strip()
    assert run(BIN / program, "--no-such-flag").returncode == 2


def test_an_unknown_config_field_is_refused_by_name(tmp_path):
    config = tmp_path / "ca.yaml"
    config.write_text(f"data_dir: {tmp_path}/d\ntrust_domain: {TRUST_DOMAIN}\nlisten_adress: x\n")
    one_line(run(BIN / "linchpin-ca", "run", "--config", config), 2, "listen_adress")
    assert not (tmp_path / "d").exists()


def test_a_missing_config_field_is_named(tmp_path):
    config = tmp_path / "ca.yaml"
    config.write_text(f"trust_domain: {TRUST_DOMAIN}\n")
    one_line(run(BIN / "linchpin-ca", "run", "--config", config), 2, "data")


def test_a_trust_domain_with_capitals_is_refused(tmp_path):
    one_line(run(BIN / "linchpin-ca", "run", "--data-dir", tmp_path / "d", "--trust-domain",
                 "Example.org"), 2, "Example.org")


def test_an_agent_without_pin_or_signers_says_what_to_give(tmp_path):
    token = tmp_path / "token"
    token.write_text("x\n")
    done = run(BIN / "linchpin-agent", "run", "--data-dir", tmp_path / "a", "--trust-domain",
               TRUST_DOMAIN, "--ca", "127.0.0.1:1", "--join-token-file", token)
    one_line(done, 2, "--ca-pin", "--signers")


def test_a_malformed_pin_rejects_the_whole_start(tmp_path):
    token = tmp_path / "token"
    token.write_text("x\n")
    done = run(BIN / "linchpin-agent", "run", "--data-dir", tmp_path / "a", "--trust-domain",
               TRUST_DOMAIN, "--ca", "127.0.0.1:1", "--ca-pin", "sha256:AAAA", "--join-token-file",
               token)
    one_line(done, 2, "sha256:AAAA")


def test_a_data_directory_of_another_trust_domain_is_refused(ca):
    ca.ca.kill()
    args = [a if a != TRUST_DOMAIN else "other.org" for a in ca.ca_args()]
    one_line(run(*args), 1, "example.org", "other.org")


def test_a_store_of_a_newer_format_is_refused_and_left_alone(ca):
    ca.ca.kill()
    path = ca.ca_dir / "store.db"
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = 999 WHERE name = 'format'")
    db.close()
    one_line(run(*ca.ca_args()), 1, "999")


def test_two_cas_cannot_share_a_data_directory(ca):
    one_line(run(*ca.ca_args()), 1, str(ca.ca_dir))
    assert ca.ca_answers()


def test_a_data_path_that_is_a_file_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("not a directory")
    done = run(BIN / "linchpin-ca", "run", "--data-dir", path, "--trust-domain", TRUST_DOMAIN)
    one_line(done, 1, str(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_an_unwritable_data_directory_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    done = run(BIN / "linchpin-ca", "run", "--data-dir", tmp_path / "d", "--trust-domain",
               TRUST_DOMAIN)
    one_line(done, 1, str(tmp_path))
