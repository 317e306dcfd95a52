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
from callers import (CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PREFACE,
                     RESET, SETTINGS, Child, call, call_watch, connect, frame, is_closed,
                     open_http2)
from deployment import BIN, Deployment, wait_for

MALLORY = 54321
ALICE = 54322
MIB = 1 << 20
APIS = {"Watch": callers.REQUEST, "FetchX509SVID": callers.FETCH}

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
                 lambda: self.grown() < memory)
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
        # While those that were shed are being closed she may have to come again, as clients do.
        wait_for("Alice to be served in the crowd", node.serves_alice)
    for child in crowd:
        child.end()
    node.check_given_back(memory=100 * MIB)


def test_a_thousand_callers_that_speak_garbage_are_hung_up_on(node, users):
    def speak():
        beginnings = [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\x01", b"\0" * 512,
                      PREFACE[:20] + b"xxxx", PREFACE + frame(HEADERS, END_HEADERS, 1, b"\x82"),
                      bytes(range(255, 0, -1))]
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


def settled(uid_calls):
    """Runs what sends too much; how it is hung up on does not matter."""
    def run():
        try:
            uid_calls()
        except (ConnectionError, EOFError):
            return "hung up"
        return "taken"
    return run


ENDLESS = {
    "header blocks": (frame(HEADERS, 0, 1, callers.REQUEST),
                      frame(CONTINUATION, 0, 1, callers.literal("x" * 100, "y" * 120) * 70)),
    "a header": (frame(HEADERS, 0, 1, callers.REQUEST + b"\0\1x\x7f\x81\x80\x80\x7f"),
                 frame(CONTINUATION, 0, 1, b"y" * 16384)),
    "empty frames": (frame(HEADERS, 0, 1, callers.REQUEST), frame(CONTINUATION, 0, 1) * 1000),
    "settings": (b"", frame(SETTINGS) * 1000),
    "pings": (b"", frame(PING, 0, 0, b"12345678") * 1000),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_an_endless_stream_is_hung_up_on(node, users, what):
    first, piece = ENDLESS[what]

    def flood():
        connection = open_http2(node.path)
        connection.sendall(first)
        for _ in range(200 * MIB // len(piece)):
            connection.sendall(piece)
    assert users(MALLORY, settled(flood)).answer() == "hung up"
    node.check_given_back()


@pytest.mark.parametrize("api", APIS)
def test_calls_that_are_reset_in_haste_are_hung_up_on(node, users, api):
    def flood():
        connection = open_http2(node.path)
        for i in range(20_000):
            stream = 2 * i + 1
            reset = frame(RESET, 0, stream, struct.pack(">I", 8))
            connection.sendall(call(APIS[api], stream) + reset)
    assert users(MALLORY, settled(flood)).answer() == "hung up"
    node.check_given_back(memory=64 * MIB)


@pytest.mark.parametrize("api", APIS)
def test_a_user_whose_many_connections_reset_calls_in_haste_is_heard_more_slowly(node, users, api):
    def flood():
        connections = [open_http2(node.path) for _ in range(20)]
        for connection in connections:
            connection.setblocking(False)
        for i in range(20_000):
            stream = 2 * i + 1
            reset = frame(RESET, 0, stream, struct.pack(">I", 8))
            for connection in connections:
                connection.send(call(APIS[api], stream) + reset)

    def until_it_must_wait():
        try:
            flood()
        except BlockingIOError:
            return "waits"
        return "taken"
    child = users(MALLORY, until_it_must_wait)
    assert child.answer() == "waits"
    assert node.serves_alice()
    assert node.grown() < 64 * MIB
    child.end()
    node.check_given_back(memory=64 * MIB)


@pytest.mark.parametrize("api", APIS)
def test_calls_of_one_who_gives_no_window_cost_little(node, users, api):
    def hold():
        held = [open_http2(node.path, struct.pack(">HI", 4, 0)) for _ in range(100)]
        for connection in held:
            for stream in (1, 3, 5, 7, 9):
                connection.sendall(call(APIS[api], stream))
        return held
    child = users(MALLORY, hold)
    child.answer()
    assert node.serves_alice()
    assert node.grown() < 64 * MIB
    child.end()
    node.check_given_back(memory=64 * MIB)


def ask(path, headers):
    connection = open_http2(path)
    connection.sendall(call(headers))
    return connection


def next_message(connection):
    """The next whole gRPC message of the only call, its window given back."""
    message = b""
    while len(message) < 5 or len(message) < 5 + int.from_bytes(message[1:5], "big"):
        data = callers.read_until(connection, DATA)
        for stream in (0, 1):
            connection.sendall(frame(callers.WINDOW, 0, stream, struct.pack(">I", len(data))))
        message += data
    return message


@pytest.mark.parametrize("api", APIS)
def test_one_who_does_not_read_delays_nobody_and_is_given_the_newest_at_last(node, users, api):
    node.deployment.identity("/slow", f"unix:uid:{MALLORY}")

    def read_late():
        connection = ask(node.path, APIS[api])
        next_message(connection)
        pipe.recv(1)  # nothing is read until all is over
        count = 0
        while b"/late39" not in next_message(connection):
            count += 1
        return f"after {count}"
    ours, pipe = socket.socketpair()
    child = users(MALLORY, read_late)
    for i in range(40):
        node.deployment.identity(f"/late{i}", f"unix:uid:{MALLORY}")
    wait_for("Mallory's fortieth", lambda: "/late39" in node.fetch(MALLORY))
    assert node.serves_alice()
    assert node.grown() < 48 * MIB
    ours.send(b"x")
    messages = int(child.answer().split()[1])
    assert messages <= 40, "each change at most once"
    child.end()


def test_a_caller_that_exits_between_connect_and_call_is_nobody(node, users):
    caller, connection = connect_as(node, users, ALICE)
    caller.end()
    assert b"/alice" not in answer_to_watch(connection)
    node.check_given_back()


def connect_as(node, users, uid):
    """A process of that user, and the connection that it made and then left to us."""
    ours, theirs = socket.socketpair()

    def connect_and_send():
        connection = connect(node.path)
        callers.send_file(theirs, connection.fileno())
        connection.close()
    caller = users(uid, connect_and_send)
    caller.answer()
    return caller, socket.socket(fileno=callers.take_file(ours))


def answer_to_watch(connection):
    """All that comes until the agent hangs up."""
    connection.settimeout(None)
    got = b""
    try:
        connection.sendall(PREFACE + frame(SETTINGS) + call_watch())
        while more := connection.recv(65536):
            got += more
    except ConnectionError:
        pass
    return got


def test_a_process_that_was_given_a_callers_pid_gets_nothing_of_it(node, users):
    caller, connection = connect_as(node, users, MALLORY)
    pid = caller.pid
    caller.end()
    heir = None
    for _ in range(1000):
        try:
            pathlib.Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        except OSError:
            pytest.skip("NOT TESTED: the next pid cannot be chosen here")
        heir = users(ALICE, lambda: None)
        if heir.pid == pid:
            break
        heir.end()
    assert heir.pid == pid, "the pid was never free"
    heir.answer()
    assert b"/alice" not in answer_to_watch(connection)
    node.check_given_back()


def test_an_inherited_connection_is_that_of_the_process_that_made_it_and_ends_with_it(node, users):
    caller, connection = connect_as(node, users, ALICE)
    connection.settimeout(60)
    connection.sendall(PREFACE + frame(SETTINGS) + call_watch())
    assert b"/alice" in next_message(connection), "whoever holds it acts for the process that lives"
    caller.end()
    wait_for("the end of the connection", lambda: is_closed(connection))
    node.check_given_back()

