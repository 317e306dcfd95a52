# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Sums a results directory: `N passed, N failed, N skipped`, preceded by the names of what failed.

RESULTS/gtest/*.json one per GoogleTest binary, RESULTS/ctest.xml, RESULTS/pytest.xml and its exit
code in pytest.code. A binary that died before it could write its cases counts as one failure. Exits
1 on a failure and where nothing ran at all.
"""

import dataclasses
import json
import pathlib
import sys
import xml.etree.ElementTree as ET


@dataclasses.dataclass
class Sum:
    passed: int = 0
    skipped: int = 0
    failed: list = dataclasses.field(default_factory=list)

    def line(self):
        return f"{self.passed} passed, {len(self.failed)} failed, {self.skipped} skipped"


def add_gtest(total, report):
    """One binary's JSON report; returns whether any of its cases failed."""
    failed_before = len(total.failed)
    for suite in report.get("testsuites", []):
        for case in suite.get("testsuite", []):
            if case.get("failures"):
                total.failed.append(f"{suite['name']}.{case['name']}")
            elif case.get("result") == "COMPLETED":
                total.passed += 1
            else:  # SKIPPED, or SUPPRESSED: disabled
                total.skipped += 1
    return len(total.failed) > failed_before


def add_junit(total, root):
    for case in root.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            total.failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif case.find("skipped") is not None:
            total.skipped += 1
        else:
            total.passed += 1


def add_dead_binaries(total, ctest_root, explained):
    """Binaries that ctest saw fail although none of their cases did: crashed, hung, not built."""
    for case in ctest_root.iter("testcase"):
        if case.get("status") == "fail" and case.get("name") not in explained:
            total.failed.append(f"{case.get('name')} (the whole program: died or ran out of time)")


def summarise(results):
    total = Sum()
    explained = set()
    for path in sorted((results / "gtest").glob("*.json")):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:  # cut short by a crash: ctest knows
            continue
        if add_gtest(total, report):
            explained.add(path.stem)
    ctest = results / "ctest.xml"
    if ctest.exists():
        add_dead_binaries(total, ET.parse(ctest).getroot(), explained)
    pytest = results / "pytest.xml"
    if pytest.exists():
        add_junit(total, ET.parse(pytest).getroot())
    code = results / "pytest.code"
    # 0 and 1 are in the report; the rest is pytest's own trouble.
    if code.exists() and code.read_text(encoding="utf-8").strip() not in ("0", "1"):
        total.failed.append(f"pytest itself (exit code {code.read_text(encoding='utf-8').strip()})")
    return total


def main(argv):
    if len(argv) != 2:
        print("usage: summary.py RESULTS", file=sys.stderr)
        return 2
    total = summarise(pathlib.Path(argv[1]))
    for name in total.failed:
        print(f"FAILED {name}")
    if not (total.passed or total.failed or total.skipped):
        print("no test ran: none has that name")
    print(total.line())
    return 1 if total.failed or not (total.passed or total.skipped) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
