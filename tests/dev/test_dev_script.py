# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""./dev: its help is whole, its mistakes are one line, its package tables can be read."""

import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
COMMANDS = ["setup", "build", "run", "test", "k8s", "image", "debian13", "sim", "bench", "fuzz",
            "format"]


def dev(*args):
    return subprocess.run([ROOT / "dev", *args], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, cwd="/")


def test_help_names_every_command_and_shows_examples():
    for how in ("help", "--help", "-h"):
        done = dev(how)
        assert done.returncode == 0
        for command in COMMANDS:
            assert re.search(rf"^  {command}\b", done.stdout, re.M), command
        assert "examples:" in done.stdout


@pytest.mark.parametrize("args, what", [
    (["nonsense"], "no command 'nonsense'"),
    (["build", "nonsense"], "no preset 'nonsense'"),
    (["test", "--nonsense"], "no option '--nonsense'"),
    (["test", "One", "Two"], "one NAME only"),
    (["setup", "Nonsense"], "no group 'Nonsense'"),
    (["fuzz", "x", "--seconds", "soon"], "--seconds takes a number"),
    (["format", "--nonsense"], "no option '--nonsense'"),
])
def test_bad_usage_is_one_line_and_exit_2(args, what):
    done = dev(*args)
    assert done.returncode == 2
    assert what in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_command_shows_the_help_and_fails():
    done = dev()
    assert done.returncode == 2
    assert "usage: ./dev" in done.stderr


def test_every_dependency_has_a_reason_and_is_named_once():
    rows = re.findall(r"^\| `([^`]+)` \| (.*) \|$",
                      (ROOT / "docs/dependencies.md").read_text(encoding="utf-8"), re.M)
    names = [name for name, _ in rows]
    assert len(names) > 20
    assert sorted(set(names)) == sorted(names)
    assert all(reason.strip() for _, reason in rows)


def test_nothing_is_missing_after_setup():
    done = dev("setup", "Build", "Test")
    assert done.returncode == 0
    assert "nothing is missing for: Build Test" in done.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_shell_scripts_pass_shellcheck():
    scripts = [ROOT / "dev", ROOT / ".ci/run", *ROOT.glob("demo/**/*.sh"),
               *ROOT.glob("examples/**/*.sh"), *ROOT.glob("tests/**/*.sh")]
    # Fragments have no first line of their own and are followed from the script that reads them.
    scripts = [path for path in scripts if path.read_text(encoding="utf-8").startswith("#!")]
    done = subprocess.run(["shellcheck", "--external-sources", "--source-path=SCRIPTDIR",
                           "--severity=warning", *scripts],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
