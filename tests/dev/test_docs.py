# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The documents say what the code does, where both can be read by a test."""

import itertools
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BIN = pathlib.Path(os.environ.get("LINCHPIN_BIN", ROOT / "build/release/bin"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def reasons():
    proto = text("proto/linchpin/trust/v1/verdict.proto")
    return re.findall(r"^  ([A-Z_]+) = [1-9]\d*;", proto, re.M)


def alerts_in_the_code():
    """reason -> number, from the cases of TlsAlert; the default is 80."""
    found, waiting = {}, []
    for line in text("trust/verdict.cc").split("int TlsAlert", 1)[1].splitlines():
        case = re.search(r"case v1::([A-Z_]+):", line)
        number = re.search(r"return (\d+);", line)
        if case:
            waiting.append(case.group(1))
        elif number:
            found.update(dict.fromkeys(waiting, int(number.group(1))))
            waiting = []
    return {reason: found.get(reason, 80) for reason in reasons()}


def test_every_reason_has_its_alert_in_the_formats():
    documented = {}
    for number, names in re.findall(r"^\| `\w+` \((\d+)\) \| ([A-Z_, ]+) \|$",
                                    text("docs/formats.md"), re.M):
        documented.update(dict.fromkeys(names.split(", "), int(number)))
    assert documented == alerts_in_the_code()


def test_metrics_in_the_documents_exist():
    code = "".join(path.read_text(encoding="utf-8")
                   for room in ("ca", "agent", "base") for path in (ROOT / room).rglob("*.cc"))
    for document in DOCUMENTS:
        for name in re.findall(r"linchpin_(?:ca|agent)_[a-z_]+", text(document)):
            assert f'"{name}"' in code, f"{document}: {name}"


def test_tests_in_the_threat_model_exist():
    """`Suite.Name`, `Suite`, `test_name`, and folders of golden chains."""
    cpp = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*_test.cc")]
    pairs = {pair for code in cpp
             for pair in re.findall(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)", code, re.M)}
    known = {f"{suite}.{name}" for suite, name in pairs} | {suite for suite, _ in pairs}
    for path in (ROOT / "tests").rglob("test_*.py"):
        known |= set(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M))
    known |= {path.name for path in (ROOT / "tests/golden/chains").iterdir()}
    known |= {path.parent.name + "_test" for path in (ROOT / "tests").glob("*/CMakeLists.txt")}
    tables = text("docs/threat-model.md").split("## Who attacks")[1].split("## Rules")[0]
    named = [name for row in re.findall(r"^\| .*\| (.*) \|$", tables, re.M)
             for name in re.findall(r"`([^`]+)`", row)]
    assert len(named) > 40
    assert [name for name in named if name not in known] == []


def test_commands_in_the_documents_exist():
    """`linchpin node token --ttl …` in a code block: its words and its flags are in the help."""
    blocks = re.findall(r"^```$(.*?)^```$", text("docs/operations.md") + text("README.md"),
                        re.M | re.S)
    commands = re.findall(r"(?:^|\s)linchpin ([a-z].*)", "".join(blocks).replace("\\\n", ""))
    assert len(commands) > 8
    for command in commands:
        command = re.split(r"\s+[#>]", command)[0]
        words = list(itertools.takewhile(re.compile(r"[a-z]+").fullmatch, command.split()))
        help_text = subprocess.run([BIN / "linchpin", *words, "--help"], capture_output=True,
                                   text=True, check=False)
        assert help_text.returncode == 0, command
        for flag in re.findall(r"--[a-z-]+", command):
            assert flag in help_text.stdout, f"linchpin {' '.join(words)} has no {flag}"


def test_decisions_are_numbered_without_a_gap():
    names = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    for name in names:
        body = text(f"docs/decisions/{name}")
        assert body.startswith(f"# {int(name[:4])}. ")
        assert all(f"**{part}.**" in body for part in ("Context", "Decision", "Consequences"))


def test_the_licence_is_whole():
    assert "END OF TERMS AND CONDITIONS" in text("LICENSE")
    assert "limitations under the License." in text("LICENSE")
