# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Connections of local callers, frame by frame: good ones, and what no client would send."""

from seeds import seed

DATA, HEADERS, RESET, SETTINGS, PING, GO_AWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
# How it comes, as tests/fuzz/http2_targets.cc reads it.
IN_SMALL_PIECES, WHOLE, UNREAD = b"\x02", b"\xfe", b"\xff"


def frame(kind, flags, stream, payload=b""):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
            + payload)


def opening(settings=b""):
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings)


def block(path, **more):
    fields = {":path": path, "content-type": "application/grpc", "te": "trailers",
              **{name.replace("_", "-"): value for name, value in more.items()}}
    literals = b"".join(b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)])
                        + value.encode() for name, value in fields.items())
    return b"\x83\x86" + literals  # POST, http


def message(payload, flag=0):
    return bytes([flag]) + len(payload).to_bytes(4, "big") + payload


def call(stream, path, *messages, end=END_STREAM, **more):
    return (frame(HEADERS, END_HEADERS, stream, block(path, **more))
            + frame(DATA, end, stream, b"".join(messages)))


def connections():
    """By name."""
    value = message(b"\x0a\x05hello")
    small_window = b"\0\4\0\0\0\1"
    files = message(b"\x1a\x1bgrpc/health/v1/health.proto")
    endless = frame(HEADERS, 0, 1, block("/t.T/Wait")) + frame(CONTINUATION, 0, 1) * 12
    return {
        "unary": opening() + call(1, "/grpc.health.v1.Health/Check", message(b"")),
        "two_calls": opening() + call(1, "/t.T/Wait", value) + call(3, "/t.T/Wait", value),
        "dialogue": opening() + call(1, "/t.T/Talk", message(b"one"), message(b"two")),
        "open_dialogue": opening() + call(1, "/t.T/Talk", message(b"one"), end=0)
                         + frame(DATA, END_STREAM, 1, message(b"two")),
        "reflection": opening() + call(1, "/grpc.reflection.v1.ServerReflection/"
                                          "ServerReflectionInfo", message(b"\x3a\0"), files),
        "deadline": opening() + call(1, "/t.T/Wait", value, grpc_timeout="10m"),
        "compressed": opening() + call(1, "/t.T/Wait", message(b"x", 1), grpc_encoding="gzip"),
        "half": opening() + call(1, "/t.T/Talk", value[:7]),
        "two_of_one": opening() + call(1, "/t.T/Wait", value, value),
        "too_long": opening() + call(1, "/t.T/Wait", b"\0\xff\xff\xff\xff"),
        "no_method": opening() + call(1, "/t.T/None", value),
        "reset": opening() + call(1, "/t.T/Wait", value) + frame(RESET, 0, 1, b"\0\0\0\x08"),
        "no_window": opening(small_window) + call(1, "/t.T/Wait", value)
                     + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x40"),
        "ping": opening() + frame(PING, 0, 0, b"12345678") * 3,
        "go_away": opening() + call(1, "/t.T/Wait", value) + frame(GO_AWAY, 0, 0, bytes(8)),
        "endless": opening() + endless,
        "http1": b"GET / HTTP/1.1\r\n\r\n",
    }


def make():
    for name, sent in connections().items():
        seed("http2_connection", name, WHOLE + sent)
    for name in ("dialogue", "no_window"):
        seed("http2_connection", f"{name}_in_pieces", IN_SMALL_PIECES + connections()[name])
        seed("http2_connection", f"{name}_unread", UNREAD + connections()[name])
