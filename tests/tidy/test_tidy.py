# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The tree keeps the house's rules."""

import functools
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import arrows  # noqa: E402
import rules  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
SUFFIXES = (".cc", ".h", ".proto", ".py", ".sh", ".cmake", ".md", "CMakeLists.txt")
NAMES = ("dev", ".ci/run")
SKIPPED = {"build", ".git", "__pycache__", "golden", "corpus"}


@functools.cache
def tree():
    found = {}
    for directory, names, files in os.walk(ROOT):
        names[:] = [name for name in names if name not in SKIPPED]
        for name in files:
            path = os.path.relpath(os.path.join(directory, name), ROOT)
            if path.endswith(SUFFIXES) or path in NAMES:
                found[path] = pathlib.Path(ROOT, path).read_text(encoding="utf-8")
    return found


def test_the_tree_is_there():
    assert {"dev", ".ci/run", "CMakeLists.txt", "base/clock.h"} <= tree().keys()


def test_the_table_of_arrows_has_no_dead_row():
    rooms = {arrows.room_of(path) for path in tree() if rules.is_code(path)}
    assert rooms | {"proto"} == set(arrows.ALLOWED)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_every_file(rule):
    complaints = [f"{path}:{line}: {what}"
                  for path, text in sorted(tree().items()) for line, what in rule(path, text)]
    assert not complaints, "\n" + "\n".join(complaints)


@pytest.mark.parametrize("rule", rules.TREE_RULES, ids=lambda rule: rule.__name__)
def test_the_whole(rule):
    complaints = list(rule(tree()))
    assert not complaints, "\n" + "\n".join(complaints)
