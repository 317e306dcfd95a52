# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A call whose messages are read as they come, by a thread of its own."""

import queue
import threading

import grpc

from deployment import DEADLINE


class GrpcStream:
    silence = 1.5  # seconds in which a message that should not be sent would have come

    def __init__(self, call):
        self.call = call
        self.got = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for message in self.call:
                self.got.put(message)
        except grpc.RpcError as error:
            self.got.put(error)

    def next(self):
        """The next message; fails if the stream ends instead."""
        got = self.got.get(timeout=DEADLINE)
        if isinstance(got, grpc.RpcError):
            raise AssertionError(f"the stream ended: {got.code()} {got.details()}")
        return got

    def end(self):
        """How the stream ends, messages before that dropped."""
        while True:
            got = self.got.get(timeout=DEADLINE)
            if isinstance(got, grpc.RpcError):
                return got.code(), got.details()

    def is_silent(self):
        try:
            self.unexpected = self.got.get(timeout=self.silence)
        except queue.Empty:
            return True
        return False

    def cancel(self):
        self.call.cancel()
