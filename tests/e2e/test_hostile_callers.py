# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Other processes of the node do what they can to the agent's socket; the others are served."""

import os
import pathlib
import shutil
import socket
import struct
import tempfile

import pytest

import callers
from callers import (CONTINUATION, DATA, EMPTY_MESSAGE, END_HEADERS, GOAWAY, HEADERS, PING, PREFACE,
                     RESET, SETTINGS, Child, call_watch, connect, frame, is_closed, open_http2)
from deployment import BIN, Deployment, wait_for

MALLORY = 54321
ALICE = 54322
MIB = 1 << 20

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="NOT TESTED: only root can be several users; run as root")


class Node:
    """An agent whose socket every user reaches, and what it costs."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.program = shutil.copy(BIN / "linchpin", deployment.folder / "linchpin")
        self.path = deployment.socket("a")
        deployment.start_ca()
        self.agent = deployment.join("a")
        deployment.identity("/alice", f"unix:uid:{ALICE}")
        wait_for("Alice's certificate", self.serves_alice)
        self.pid = self.agent.popen.pid
        self.files = self.settled_files()
        self.memory = callers.resident(self.pid)

    def serves_alice(self):
        return "/alice" in self.fetch(ALICE)

    def fetch(self, uid, timeout="30s"):
        """What a process of this user gets: a process of its own asks."""
        child = Child(uid, lambda: os.popen(
            f"{self.program} --socket unix://{self.path} fetch --timeout {timeout} 2>&1"
        ).read().replace("\n", " "))
        try:
            return child.answer()
        finally:
            child.end()

    def settled_files(self):
        """Open files once they are the same twice in a row."""
        seen = [-1]

        def settled():
            seen.append(callers.open_files(self.pid))
            return seen[-1] == seen[-2]
        wait_for("the agent's files", settled)
        return seen[-1]

    def grown(self):
        return callers.resident(self.pid) - self.memory

    def check_given_back(self, memory=24 * MIB):
        wait_for("the files to be closed", lambda: callers.open_files(self.pid) <= self.files + 4)
        wait_for(f"memory of {self.memory >> 20} MiB again",
                 lambda: self.grown() < memory or print(self.grown()))
        assert self.agent.alive(), self.agent.text()
        assert self.serves_alice()


@pytest.fixture
def node():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="linchpin-hostile-"))
    folder.chmod(0o755)  # other users reach the socket
    deployment = Deployment(folder)
    try:
        yield Node(deployment)
    finally:
        deployment.stop()
        shutil.rmtree(folder)


@pytest.fixture
def users():
    """Makes processes of other users; ends them."""
    made = []

    def make(uid, work):
        made.append(Child(uid, work))
        return made[-1]
    yield make
    for child in made:
        child.end()


def test_10500_idle_connections_of_one_user_keep_nobody_out(node, users):
    idle = users(MALLORY, lambda: [connect(node.path) for _ in range(10_500)])
    idle.answer()
    assert callers.open_files(node.pid) > node.files + 100
    for _ in range(5):
        assert node.serves_alice()
    assert node.grown() < 32 * MIB
    idle.end()
    node.check_given_back()


def test_connections_of_several_users_that_all_begin_to_speak_keep_nobody_out(node, users):
    crowd = [users(MALLORY + 100 + i, lambda: [open_http2(node.path) for _ in range(3000)])
             for i in range(5)]
    for child in crowd:
        child.answer()
        assert node.serves_alice()
    for child in crowd:
        child.end()
    node.check_given_back(memory=100 * MIB)


def test_a_thousand_callers_that_speak_garbage_are_hung_up_on(node, users):
    def speak():
        beginnings = [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\x01", b"\0" * 512, PREFACE[:20]
                      + b"xxxx", PREFACE + frame(HEADERS, END_HEADERS, 1, b"\x82"), os.urandom(300)]
        for i in range(1000):
            connection = connect(node.path)
            connection.sendall(beginnings[i % len(beginnings)])
            try:
                assert connection.recv(1) == b""
            except ConnectionResetError:
                pass
            connection.close()
    users(MALLORY, speak).answer()
    node.check_given_back()
