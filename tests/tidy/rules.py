# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The house's rules. Each takes (path, text) and yields (line, complaint)."""

import re

import arrows
import source

LINE, FUNCTION, CONSTRUCTOR = 100, 70, 4
CODE = (".cc", ".h")
BANNED = re.compile(r"\b(TODO|FIXME|XXX)\b")
BANNER = ["SPDX-License-Identifier: Apache-2.0", "Copyright The Linchpin Authors"]


def is_code(path):
    return path.endswith(CODE)


def is_test(path):
    return path.startswith("tests/")


def include_follows_the_arrows(path, text):
    room = arrows.room_of(path)
    if not is_code(path):
        return
    if room is None:
        yield 1, "belongs to no room of tests/tidy/arrows.py"
        return
    allowed = arrows.ALLOWED[room]
    for line, bracket, target in source.includes(text):
        if bracket == "<" and not target.startswith(("linchpin/", "envoy/")):
            continue
        other = arrows.room_of_include(target)
        if other is None and "/" in target:
            if not target.startswith(("absl/", "google/", "gmock/", "gtest/", "benchmark/",
                                      "grpc/", "grpcpp/", "openssl/", "nlohmann/", "spdlog/",
                                      "prometheus/", "yaml-cpp/", "CLI/", "opentelemetry/")):
                yield line, f"includes {target}, which is of no room"
        elif other is None:
            yield line, f"includes {target}: write the path from the root of the tree"
        elif other not in allowed | {room, "proto"} and allowed is not arrows.EVERYTHING:
            yield line, f"{room} must not include {other} ({target})"


def include_of_a_library_is_in_its_room(path, text):
    if not is_code(path):
        return
    room = arrows.room_of(path)
    for line, _, target in source.includes(text):
        for prefix, rooms in arrows.LIBRARIES.items():
            if target.startswith(prefix) and room not in rooms:
                yield line, f"{room} must not include <{prefix}…>"
        if target.endswith(arrows.GRPC_STUB) and room not in arrows.LIBRARIES["grpcpp/"]:
            yield line, f"{room} must not include the gRPC stubs {target}"


def only_mains_name_implementations(path, text):
    if not is_code(path) or is_test(path) or path.endswith("/main.cc"):
        return
    for line, _, target in source.includes(text):
        room = arrows.room_of_include(target)
        if room in arrows.SEAMS and room != arrows.room_of(path):
            if target not in arrows.SEAMS[room]:
                yield line, f"includes the implementation {target}: only a main.cc may"


def the_world_is_reached_through_base(path, text):
    if not is_code(path) or path.startswith("base/"):
        return
    for number, code in enumerate(source.strip(text).splitlines(), 1):
        for call in arrows.WORLDLY:
            if re.search(r"(?<![A-Za-z0-9_])" + re.escape(call), code):
                yield number, f"{call} belongs in base/: take a time, a Clock or a Random " \
                              "(a gRPC deadline: absl::ToChronoTime(clock.Now() + …))"


def files_are_short(path, text):
    lines = text.count("\n")
    if not path.endswith(CODE + (".py",)) and path != "dev":
        return
    limit = 600 if is_test(path) else 200 if path.endswith(".h") else 400
    if lines > limit:
        yield lines, f"{lines} lines; the budget is {limit}"


def lines_are_short(path, text):
    if path.endswith(".md"):
        return
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LINE:
            yield number, f"{len(line)} columns; the budget is {LINE}"


def functions_are_short(path, text):
    if not is_code(path):
        return
    for block in source.parse(text)[0]:
        length = block.last - block.first + 1
        if block.kind == "function" and length > FUNCTION:
            yield block.first, f"a function of {length} lines; the budget is {FUNCTION}"


def constructors_take_few_arguments(path, text):
    if not is_code(path):
        return
    for line, head, owner in source.parse(text)[1]:
        name = re.match(r"(?:class|struct)\s+(?:\[\[\w+\]\]\s*)?(\w+)", owner)
        own = name and rf"(?:explicit |constexpr |inline )*{name.group(1)}\s*\("
        if not own or not re.match(own, head):
            continue
        count = source.arguments(head)
        if count is not None and count > CONSTRUCTOR:
            yield line, f"{name.group(1)}'s constructor takes {count} arguments, more than " \
                        f"{CONSTRUCTOR}: make a struct of them"


def words_are_not_banned(path, text):
    if path.startswith("tests/tidy/"):
        return
    for number, line in enumerate(text.splitlines(), 1):
        for word in BANNED.findall(line):
            yield number, f"{word}: do it, or drop it"
    if not is_code(path):
        return
    for number, line in enumerate(source.strip(text).splitlines(), 1):
        if "std::string_view" in line:
            yield number, "std::string_view: abseil's is another type here; use absl::string_view"
        if re.search(r"\babsl::(Mutex|CondVar)\b", line):
            yield number, "absl::Mutex: not built for ThreadSanitizer; use base/mutex.h"


def files_have_the_banner(path, text):
    lines = text.splitlines()
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    comment = "//" if path.endswith(CODE + (".proto",)) else "#"
    if path.endswith(CODE + (".proto", ".py", ".sh")) or path in ("dev", ".ci/run"):
        if lines[:2] != [f"{comment} {line}" for line in BANNER]:
            yield 1, "does not begin with the two SPDX lines"


def headers_are_included_once(path, text):
    if path.endswith(".h") and "#pragma once" not in text.splitlines():
        yield 1, "a header without #pragma once"


RULES = [
    include_follows_the_arrows,
    include_of_a_library_is_in_its_room,
    only_mains_name_implementations,
    the_world_is_reached_through_base,
    files_are_short,
    lines_are_short,
    functions_are_short,
    constructors_take_few_arguments,
    words_are_not_banned,
    files_have_the_banner,
    headers_are_included_once,
]


# Rules about the whole tree take {path: text} and yield complaints.

def every_source_is_built(tree):
    """Each .cc and .proto is named in a CMakeLists.txt of its directory or one above it."""
    lists = {path[:-len("CMakeLists.txt")]: set(re.split(r"[\s()\"]+", text))
             for path, text in tree.items() if path.endswith("CMakeLists.txt")}
    for path in tree:
        if not path.endswith((".cc", ".proto")):
            continue
        names = [(directory, path[len(directory):]) for directory in lists
                 if path.startswith(directory)]
        if path.endswith(".proto"):
            names = [(directory, name.removesuffix(".proto"))
                     for directory, name in names]
        if not any(name in lists[directory] for directory, name in names):
            yield f"{path}: no CMakeLists.txt names it"


def every_room_is_described(tree):
    text = tree.get("docs/architecture.md", "")
    rooms = {path.rsplit("/", 1)[0].removesuffix("/internal") for path in tree if is_code(path)}
    mirrors = {f"tests/{room}" for room in rooms}
    mirrors |= {f"tests/{room.split('/')[0]}" for room in rooms}
    for room in sorted(rooms - mirrors):
        if f"`{room}/`" not in text:
            yield f"{room}/: docs/architecture.md does not say what it is for"


def public_sdk_headers_are_plain(tree):
    """What a service includes of the TLS library, and all that this includes in turn, needs neither
    gRPC nor protobuf to compile."""
    users = [text for path, text in tree.items() if path.startswith(("examples/", "demo/"))]
    public = {target for text in users for _, _, target in source.includes(text)} | {
        path for path in tree if path.startswith("sdk/linchpin_tls")}
    waiting = sorted(path for path in public
                     if path.startswith("sdk/") and path.endswith(".h") and "grpc" not in path)
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        for line, _, target in source.includes(tree.get(path, "")):
            if target.startswith(("grpc/", "grpcpp/", "google/")) or target.endswith(".pb.h"):
                yield f"{path}:{line}: {target} reaches those who include the SDK"
            elif target not in seen:
                seen.add(target)
                waiting.append(target)


TREE_RULES = [every_source_is_built, every_room_is_described, public_sdk_headers_are_plain]
