# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Each rule is fed what it must refuse, and the nearest thing that it must not."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import arrows  # noqa: E402
import rules  # noqa: E402
import source  # noqa: E402


def body(lines):
    return "  x();\n" * lines


def function(lines, head="int F() {"):
    return f"{head}\n{body(lines - 2)}}}\n"


BANNER = "".join(f"// {line}\n" for line in rules.BANNER)

BAD = [
    (rules.include_follows_the_arrows, "base/a.cc", '#include "x509/key.h"\n'),
    (rules.include_follows_the_arrows, "x509/a.cc", '#include "trust/judge.h"\n'),
    (rules.include_follows_the_arrows, "sync/a.h", '#include "rpc/status.h"\n'),
    (rules.include_follows_the_arrows, "rpc/a.h", '#include "sync/cursor.h"\n'),
    (rules.include_follows_the_arrows, "ca/core/a.cc", '#include "rpc/status.h"\n'),
    (rules.include_follows_the_arrows, "ca/core/a.cc", '#include "ca/server/service.h"\n'),
    (rules.include_follows_the_arrows, "agent/core/a.cc", '#include "rpc/status.h"\n'),
    (rules.include_follows_the_arrows, "ca/server/a.cc", '#include "agent/core/agent_core.h"\n'),
    (rules.include_follows_the_arrows, "agent/server/a.cc", '#include "ca/core/ca_core.h"\n'),
    (rules.include_follows_the_arrows, "sdk/a.cc", '#include "agent/core/agent_core.h"\n'),
    (rules.include_follows_the_arrows, "cli/a.cc", '#include "ca/store/store.h"\n'),
    (rules.include_follows_the_arrows, "examples/a.cc", '#include "trust/judge.h"\n'),
    (rules.include_follows_the_arrows, "trust/a.cc", '#include "tests/support/temp_dir.h"\n'),
    (rules.include_follows_the_arrows, "trust/a.cc", '#include "judge.h"\n'),
    (rules.include_follows_the_arrows, "trust/a.cc", '#include "junk/judge.h"\n'),
    (rules.include_follows_the_arrows, "junk/a.cc", ""),
    (rules.include_of_a_library_is_in_its_room, "trust/a.cc", "#include <openssl/ssl.h>\n"),
    (rules.include_of_a_library_is_in_its_room, "rpc/a.cc", '#include "openssl/ssl.h"\n'),
    (rules.include_of_a_library_is_in_its_room, "sync/a.cc", "#include <grpcpp/grpcpp.h>\n"),
    (rules.include_of_a_library_is_in_its_room, "ca/core/a.cc", "#include <grpc/grpc.h>\n"),
    (rules.include_of_a_library_is_in_its_room, "agent/core/a.cc",
     '#include "linchpin/ca/v1/node.grpc.pb.h"\n'),
    (rules.only_mains_name_implementations, "ca/server/a.cc",
     '#include "ca/store/sqlite_store.h"\n'),
    (rules.only_mains_name_implementations, "ca/run.cc", '#include "ca/keys/file_keys.h"\n'),
    (rules.the_world_is_reached_through_base, "trust/a.cc", "auto t = absl::Now();\n"),
    (rules.the_world_is_reached_through_base, "tests/a.cc",
     "std::this_thread::sleep_for(x);\n"),
    (rules.the_world_is_reached_through_base, "sdk/a.cc", "std::random_device device;\n"),
    (rules.the_world_is_reached_through_base, "sdk/a.cc", "usleep(5);\n"),
    (rules.the_world_is_reached_through_base, "sdk/a.cc", "if (x) sleep(1);\n"),
    (rules.files_are_short, "trust/a.h", "\n" * 201),
    (rules.files_are_short, "trust/a.cc", "\n" * 401),
    (rules.files_are_short, "tests/trust/a_test.cc", "\n" * 601),
    (rules.files_are_short, "dev", "\n" * 401),
    (rules.lines_are_short, "trust/a.cc", "x" * 101),
    (rules.functions_are_short, "a.cc", function(71)),
    (rules.functions_are_short, "a.cc", "namespace a {\n" + function(71) + "}\n"),
    (rules.functions_are_short, "a.cc", function(71, 'extern "C" int F() {')),
    (rules.functions_are_short, "a.cc", 'extern "C" {\n' + function(71) + "}\n"),
    (rules.functions_are_short, "a.cc", function(71, "Foo::Foo() : a_{1}, b_(2) {")),
    (rules.functions_are_short, "a.cc", function(71, "TEST(A, B) {")),
    (rules.functions_are_short, "a.cc", function(71, "template <class T>\nstruct X F(T t) {")),
    (rules.functions_are_short, "a.h", "class A {\n public:\n" + function(71) + "};\n"),
    (rules.functions_are_short, "a.cc", 'int F() {\n  auto s = R"({{{)";\n' + body(70) + "}\n"),
    (rules.constructors_take_few_arguments, "a.h",
     "class A {\n public:\n  explicit A(int a, std::map<int, int> b, int c, int d, int e);\n};\n"),
    (rules.constructors_take_few_arguments, "a.h",
     "struct A final : B {\n  A(int a, int b, int c, int d = {}, int e = 5) : a_(a) {}\n};\n"),
    (rules.words_are_not_banned, "a.cc", "// TODO later\n"),
    (rules.words_are_not_banned, "docs/a.md", "FIXME\n"),
    (rules.words_are_not_banned, "a.cc", "void F(std::string_view s);\n"),
    (rules.words_are_not_banned, "a.cc", "absl::Mutex mutex;\n"),
    (rules.files_have_the_banner, "a.cc", "int a;\n"),
    (rules.files_have_the_banner, "a.py", BANNER),
    (rules.files_have_the_banner, "dev", "#!/bin/bash\nset -e\n"),
    (rules.headers_are_included_once, "a.h", "#ifndef A_H\n"),
]

GOOD = [
    (rules.include_follows_the_arrows, "ca/core/a.cc",
     '#include "ca/core/b.h"\n#include "sync/cursor.h"\n#include "linchpin/ca/v1/node.pb.h"\n'
     '#include <vector>\n#include "absl/status/status.h"\n'),
    (rules.include_follows_the_arrows, "ca/main.cc", '#include "ca/store/sqlite_store.h"\n'),
    (rules.include_follows_the_arrows, "examples/a.cc", '#include "sdk/linchpin_tls.h"\n'),
    (rules.include_follows_the_arrows, "tests/sim/a.cc",
     '#include "ca/core/a.h"\n#include "agent/core/a.h"\n#include "sdk/core.h"\n'),
    (rules.include_of_a_library_is_in_its_room, "x509/a.cc", "#include <openssl/x509.h>\n"),
    (rules.include_of_a_library_is_in_its_room, "ca/server/a.cc",
     '#include <grpcpp/grpcpp.h>\n#include "linchpin/ca/v1/node.grpc.pb.h"\n'),
    (rules.only_mains_name_implementations, "ca/main.cc", '#include "ca/store/sqlite_store.h"\n'),
    (rules.only_mains_name_implementations, "ca/server/a.cc", '#include "ca/store/store.h"\n'),
    (rules.only_mains_name_implementations, "ca/store/sqlite_store.cc",
     '#include "ca/store/sqlite_store.h"\n'),
    (rules.the_world_is_reached_through_base, "base/clock.cc", "return absl::Now();\n"),
    (rules.the_world_is_reached_through_base, "sdk/a.cc",
     '// absl::Now() is banned\nLog("absl::Now()"); clock.Now(); my_usleep(3);\n'),
    (rules.files_are_short, "trust/a.h", "\n" * 200),
    (rules.lines_are_short, "trust/a.cc", "é" * 100),
    (rules.functions_are_short, "a.cc", function(70)),
    (rules.functions_are_short, "a.cc", function(60) + function(60)),
    (rules.functions_are_short, "a.h", "class A {\n" + function(40) + function(40) + "};\n"),
    (rules.functions_are_short, "a.cc", "const char* kTable[] = {\n" + '  "{",\n' * 90 + "};\n"),
    (rules.constructors_take_few_arguments, "a.h",
     "class A {\n  A(std::map<int, std::pair<int, int>> a, int b, int c, int d);\n"
     "  void Call(int a, int b, int c, int d, int e);\n};\n"),
    (rules.words_are_not_banned, "a.cc",
     '// not std::string_view\nconst char* kName = "/tmp/a-XXXXXX";\n'),
    (rules.files_have_the_banner, "a.cc", BANNER + "\n"),
    (rules.files_have_the_banner, "dev", "#!/bin/bash\n" + BANNER.replace("//", "#")),
    (rules.headers_are_included_once, "a.h", "#pragma once\n"),
]


@pytest.mark.parametrize("rule, path, text", BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_refuses(rule, path, text):
    assert list(rule(path, text))


@pytest.mark.parametrize("rule, path, text", GOOD, ids=lambda value: getattr(value, "__name__", ""))
def test_accepts(rule, path, text):
    assert not list(rule(path, text))


def test_no_rule_is_untested():
    assert {rule for rule, _, _ in BAD} == {rule for rule, _, _ in GOOD} == set(rules.RULES)


def test_a_source_that_nobody_builds_is_found():
    tree = {"a/CMakeLists.txt": "linchpin_room(a\n  SOURCES b.cc sub/c.cc)", "a/b.cc": "",
            "a/sub/c.cc": ""}
    assert not list(rules.every_source_is_built(tree))
    assert list(rules.every_source_is_built({**tree, "a/d.cc": ""}))
    assert list(rules.every_source_is_built({**tree, "a/sub/b.cc": ""}))
    assert list(rules.every_source_is_built({**tree, "proto/linchpin/a/v1/a.proto": ""}))


def test_a_room_that_the_architecture_does_not_name_is_found():
    tree = {"docs/architecture.md": "`a/` does it", "a/b.cc": "", "a/c.h": ""}
    assert not list(rules.every_room_is_described(tree))
    assert not list(rules.every_room_is_described({**tree, "a/internal/b.cc": "",
                                                   "tests/a/b_test.cc": ""}))
    assert list(rules.every_room_is_described({**tree, "a/core/b.cc": ""}))
    assert list(rules.every_room_is_described({**tree, "tests/b/b_test.cc": ""}))


def test_a_message_type_that_reaches_users_of_the_sdk_is_found():
    tree = {"examples/echo.cc": '#include "sdk/tls.h"\n', "sdk/tls.h": '#include "trust/a.h"\n',
            "trust/a.h": "", "sdk/core.h": '#include "linchpin/trust/v1/trust.pb.h"\n',
            "sdk/linchpin_grpc.h": "#include <grpcpp/grpcpp.h>\n"}
    assert not list(rules.public_sdk_headers_are_plain(tree))
    for bad in ("#include <grpcpp/grpcpp.h>\n", '#include "linchpin/trust/v1/trust.pb.h"\n'):
        assert list(rules.public_sdk_headers_are_plain({**tree, "sdk/tls.h": bad}))
        assert list(rules.public_sdk_headers_are_plain({**tree, "trust/a.h": bad}))
        assert list(rules.public_sdk_headers_are_plain({**tree, "sdk/linchpin_tls.h": bad}))


def test_arrows_have_no_cycle():
    for room, allowed in arrows.ALLOWED.items():
        for other in allowed - arrows.EVERYTHING:
            assert room not in arrows.ALLOWED[other], f"{room} <-> {other}"


def test_the_parser_sees_blocks_where_they_are():
    blocks, _ = source.parse("namespace a {\n\nint F(int x,\n      int y) {\n  if (x) {\n  }\n}\n}")
    functions = [block for block in blocks if block.kind == "function"]
    assert [(block.first, block.last) for block in functions] == [(3, 7)]
