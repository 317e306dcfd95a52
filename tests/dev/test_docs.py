# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The documents say what the code does, where both can be read by a test."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
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
