# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The summariser counts cases, not binaries, and cannot be talked into a pass."""

import json
import pathlib
import subprocess
import sys

SUMMARY = pathlib.Path(__file__).parents[1] / "summary.py"


def gtest_report(*cases):
    return json.dumps({"testsuites": [{"name": "S", "testsuite": [
        {"name": name, "result": result, **({"failures": [{}]} if bad else {})}
        for name, result, bad in cases]}]})


def run(tmp_path):
    done = subprocess.run([sys.executable, SUMMARY, tmp_path], capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stdout.splitlines()


def write(tmp_path, gtest=None, ctest=None, pytest=None):
    (tmp_path / "gtest").mkdir()
    for name, text in (gtest or {}).items():
        (tmp_path / "gtest" / f"{name}.json").write_text(text)
    for name, text in (("ctest", ctest), ("pytest", pytest)):
        if text:
            (tmp_path / f"{name}.xml").write_text(text)


def test_sums_cases_of_both_kinds(tmp_path):
    write(tmp_path,
          gtest={"a_test": gtest_report(("One", "COMPLETED", False), ("Two", "SKIPPED", False)),
                 "b_test": gtest_report(("Three", "COMPLETED", False))},
          pytest='<testsuites><testsuite><testcase classname="t" name="x"/>'
                 '<testcase classname="t" name="y"><skipped/></testcase></testsuite></testsuites>')
    assert run(tmp_path) == (0, ["3 passed, 0 failed, 2 skipped"])


def test_a_failed_case_is_named_and_counted_once(tmp_path):
    write(tmp_path,
          gtest={"a_test": gtest_report(("One", "COMPLETED", True), ("Two", "COMPLETED", False))},
          ctest='<testsuite><testcase name="a_test" status="fail"/></testsuite>')
    assert run(tmp_path) == (1, ["FAILED S.One", "1 passed, 1 failed, 0 skipped"])


def test_a_binary_that_died_is_a_failure(tmp_path):
    write(tmp_path, gtest={"a_test": '{"testsuites": ['},
          ctest='<testsuite><testcase name="a_test" status="fail"/>'
                '<testcase name="b_test" status="run"/></testsuite>')
    code, lines = run(tmp_path)
    assert code == 1
    assert lines[-1] == "0 passed, 1 failed, 0 skipped"


def test_an_error_while_collecting_is_a_failure(tmp_path):
    write(tmp_path, pytest='<testsuites><testsuite><testcase classname="" name="t">'
                           '<error/></testcase></testsuite></testsuites>')
    assert run(tmp_path)[0] == 1


def test_pytest_itself_failing_is_a_failure(tmp_path):
    write(tmp_path, gtest={"a_test": gtest_report(("One", "COMPLETED", False))})
    (tmp_path / "pytest.code").write_text("0\n")
    assert run(tmp_path)[0] == 0
    (tmp_path / "pytest.code").write_text("3\n")
    assert run(tmp_path)[0] == 1


def test_nothing_at_all_is_no_pass(tmp_path):
    write(tmp_path)
    code, lines = run(tmp_path)
    assert (code, lines[-1]) == (1, "0 passed, 0 failed, 0 skipped")
