# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Local callers that do as they like: other users' processes, and HTTP/2 written by hand."""

import os
import select
import signal
import socket
import struct
import traceback

from deployment import DEADLINE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
WATCH = "/linchpin.agent.v1.MtlsContextService/Watch"
EMPTY_MESSAGE = b"\0\0\0\0\0"  # gRPC: not compressed, no byte


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """HPACK, RFC 7541 6.2.2: a literal without indexing, with a new name, of at most 126 bytes."""
    name, value = name.encode(), value.encode()
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request(path, authority="agent", *more):
    """A block of request headers, all sent literally."""
    return b"".join(literal(*header) for header in (
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority),
        ("content-type", "application/grpc"), ("te", "trailers"), *more))


REQUEST = request(WATCH)
FETCH = request("/SpiffeWorkloadAPI/FetchX509SVID", "agent", ("workload.spiffe.io", "true"))


def call(headers, stream=1):
    return (frame(HEADERS, END_HEADERS, stream, headers)
            + frame(DATA, END_STREAM, stream, EMPTY_MESSAGE))


def call_watch(stream=1):
    return call(REQUEST, stream)


def connect(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(path))  # waits while others have filled the backlog
    connection.settimeout(DEADLINE)
    return connection


def open_http2(path, settings=b""):
    connection = connect(path)
    try:
        connection.sendall(PREFACE + frame(SETTINGS, payload=settings))
    except ConnectionError:
        pass  # has been hung up on already
    return connection


def read_exactly(connection, size):
    got = b""
    while len(got) < size:
        more = connection.recv(size - len(got))
        if not more:
            raise EOFError
        got += more
    return got


def read_frame(connection):
    head = read_exactly(connection, 9)
    size = int.from_bytes(head[:3], "big")
    return head[3], head[4], int.from_bytes(head[5:], "big"), read_exactly(connection, size)


def read_until(connection, kind):
    """The payload of the next frame of a kind; settings and pings are acknowledged meanwhile."""
    while True:
        got, flags, _, payload = read_frame(connection)
        if got == kind:
            return payload
        if got in (SETTINGS, PING) and not flags & ACK:
            connection.sendall(frame(got, ACK, payload=payload if got == PING else b""))


def is_closed(connection):
    """Whether the other end has hung up; what it has sent is read away."""
    try:
        while True:
            if not connection.recv(65536, socket.MSG_DONTWAIT):
                return True
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


class Child:
    """A process of the user `uid` that runs `work`, tells what it returned, and holds on to what it
    has opened until it is ended."""

    def __init__(self, uid, work):
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(theirs, uid, work)
        theirs.close()
        self.pipe = ours
        self.pipe.settimeout(DEADLINE)

    @staticmethod
    def _run(pipe, uid, work):
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            held = work()
            text = held if isinstance(held, str) else "done"
            pipe.sendall(text.encode() + b"\n")
            signal.pause()
        except BaseException:
            pipe.sendall(b"failed: " + traceback.format_exc().replace("\n", " | ").encode() + b"\n")
        finally:
            os._exit(1)

    def answer(self):
        got = b""
        while not got.endswith(b"\n"):
            more = self.pipe.recv(65536)
            assert more, "the child has ended"
            got += more
        assert not got.startswith(b"failed"), got.decode()
        return got.decode().strip()

    def end(self):
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None
            self.pipe.close()


def send_file(to, fd):
    socket.send_fds(to, [b"x"], [fd])


def take_file(pipe):
    select.select([pipe], [], [], DEADLINE)
    _, files, _, _ = socket.recv_fds(pipe, 1, 1)
    return files[0]


def resident(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
