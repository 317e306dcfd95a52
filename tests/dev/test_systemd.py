# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The units are read whole by systemd, which also rates how much they leave to an attacker."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BIN = pathlib.Path(os.environ.get("LINCHPIN_BIN", ROOT / "build/release/bin"))
# systemd's exposure level, times ten: 0 is nothing, 100 everything.
UNITS = {"linchpin-ca": 16, "linchpin-agent": 26}
with_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None,
                                  reason="no systemd-analyze: the units were NOT checked")


def unit(name):
    return ROOT / "systemd" / f"{name}.service"


def settings(name):
    """{key: [values]} of a unit."""
    found = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit(name).read_text(encoding="utf-8"), re.M):
        found.setdefault(key, []).append(value)
    return found


def analyze(*args):
    return subprocess.run(["systemd-analyze", *map(str, args)], capture_output=True, text=True,
                          check=False, env={**os.environ, "LC_ALL": "C"})


@with_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_knows_every_line(name, tmp_path):
    copy = tmp_path / unit(name).name
    copy.write_text(unit(name).read_text(encoding="utf-8").replace("/usr/bin/", f"{BIN}/"),
                    encoding="utf-8")
    done = analyze("verify", "--man=no", "--recursive-errors=no", copy)
    assert done.returncode == 0 and not done.stderr, done.stderr


@with_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_rates_the_unit_as_safe(name):
    done = analyze("security", "--offline=yes", f"--threshold={UNITS[name]}", unit(name))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


@with_systemd
@pytest.mark.parametrize("name", UNITS)
def test_the_unit_leaves_the_calls_by_which_a_program_confines_itself(name):
    allowed = set()
    for value in settings(name)["SystemCallFilter"]:
        calls = set().union(*(expand(word) for word in value.lstrip("~").split()))
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    assert {"capset", "capget", "prctl", "seccomp", "mlock2", "prlimit64", "pidfd_open"} <= allowed
    assert not {"ptrace", "mount", "bpf", "setuid", "keyctl", "open_by_handle_at"} & allowed


def expand(word):
    if not word.startswith("@"):
        return {word}
    words = re.findall(r"^\s+([@\w]\S*)$", analyze("syscall-filter", word).stdout, re.M)
    return set().union(*(expand(inner) for inner in words))


def test_the_units_give_no_more_capabilities_than_the_programs_keep():
    assert settings("linchpin-ca")["CapabilityBoundingSet"] == [""]
    assert "AmbientCapabilities" not in settings("linchpin-ca")
    main = (ROOT / "agent/main.cc").read_text(encoding="utf-8")
    kept = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
            for name in re.findall(r"base::k(Cap[A-Z]\w+)", main)}
    assert kept == {"CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"}
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert set(settings("linchpin-agent")[key][0].split()) == kept


@pytest.mark.parametrize("name", UNITS)
def test_the_example_configuration_is_read(name, tmp_path):
    """Up to what an example cannot have: a directory of its own, the signers' file."""
    taken = tmp_path / "taken"
    taken.write_text("a file, so that nothing is made")
    text = (ROOT / "systemd" / f"{name.removeprefix('linchpin-')}.yaml").read_text(encoding="utf-8")
    assert settings(name)["StateDirectory"] == [name]
    config = tmp_path / "config.yaml"
    config.write_text(text.replace(f"/var/lib/{name}", str(taken)), encoding="utf-8")
    done = subprocess.run([BIN / name, "run", "--config", config], capture_output=True, text=True,
                          check=False, timeout=60)
    assert done.returncode in (1, 2)
    missing = {"linchpin-ca": str(taken), "linchpin-agent": "/etc/linchpin/signers.json"}[name]
    assert missing in done.stderr, done.stderr
