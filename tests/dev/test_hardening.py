# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What is shipped is what the flags promise: PIE, RELRO, no executable stack, canaries, fortify."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BIN = pathlib.Path(os.environ.get("LINCHPIN_BIN", ROOT / "build/release/bin"))
PROGRAMS = ["linchpin-ca", "linchpin-agent", "linchpin"]


def readelf(*args):
    return subprocess.run(["readelf", "-W", *args], capture_output=True, text=True, check=True,
                          env={**os.environ, "LC_ALL": "C"}).stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_is_hardened(name):
    program = BIN / name
    assert program.exists(), f"{program} is not built"
    assert "DYN (Position-Independent Executable file)" in readelf("-h", program)
    segments = readelf("-l", program).splitlines()
    assert any("GNU_RELRO" in line for line in segments)
    (stack,) = [line for line in segments if "GNU_STACK" in line]
    assert "RWE" not in stack
    dynamic = readelf("-d", program)
    assert "BIND_NOW" in dynamic or "Flags: NOW" in dynamic
    symbols = readelf("--dyn-syms", program)
    assert "__stack_chk_fail" in symbols
    assert "_chk@" in symbols.replace("__stack_chk_fail", "")
