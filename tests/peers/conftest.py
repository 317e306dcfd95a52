# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "e2e", HERE.parents[1] / "demo"):
    sys.path.insert(0, str(folder))
import mesh  # noqa: E402
import toolchains  # noqa: E402


@pytest.fixture
def node(tmp_path):
    """A CA and an agent; everything that is started through it is killed at the end."""
    made = mesh.Node(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def go_peer():
    return toolchains.go(HERE / "go")


@pytest.fixture(scope="session")
def go_verifiers():
    return toolchains.go(HERE / "verifiers")


@pytest.fixture(scope="session")
def rust_peer():
    return toolchains.rust(HERE / "rust")


@pytest.fixture(scope="session")
def java_peer():
    """The beginning of a command line."""
    classes = toolchains.java(HERE / "java")
    return [toolchains.program("java"), "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", classes,
            "Peer"]


@pytest.fixture(scope="session")
def python_peer():
    """The beginning of a command line."""
    return [toolchains.python(HERE / "python"), "-B", HERE / "python/peer.py"]
