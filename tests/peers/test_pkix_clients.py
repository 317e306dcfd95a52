# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What programs that know anchors and no pins enforce, in real handshakes: the second table of
docs/foreign-clients.md."""

import pathlib
import re

import pkix_clients
import pytest
import toolchains
import twin_material

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs/foreign-clients.md"

# By chain: whether a program anchored at the twins, and one anchored at the root, lets it in.
LET_IN = {
    "genuine": (True, True),
    "genuine-of-backup": (True, True),
    "genuine-alone": (True, False),  # the twin itself is the leaf's issuer
    "another-peer": (True, True),    # anchors say nothing of who may call whom
    "expired": (False, False),
    "rogue": (False, True),
    "rogue-with-root": (False, True),
    "namesake": (False, True),
    "lookalike": (False, True),
    "lookalike-beside-the-true": (False, True),
    "stolen-key": (False, False),        # the issuer's path length
    "stolen-key-short": (False, False),  # the twin's
}
# The JDK applies no path length of an anchor, nor need it (RFC 5280, 6.1.1 (d)).
JAVA = {"stolen-key": (True, False), "stolen-key-short": (True, False)}
# Of who dials it depends on the name that he expects; who serves expects none.
ANOTHER_NAME = {"dials": (False, False), "serves": (True, True)}
COLUMN = {"twins": 0, "root": 1}


def kinds(table):
    return [pytest.param(kind, marks=[] if kind in ("openssl", "python") else pytest.mark.peers)
            for kind in table]


def expected(kind, does, anchors):
    table = {**LET_IN, "another-name": ANOTHER_NAME[does], **(JAVA if kind == "java" else {})}
    return {chain: said[COLUMN[anchors]] for chain, said in table.items()}


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return twin_material.make(tmp_path_factory.mktemp("material"))


def need(kind):
    for program in pkix_clients.PROGRAMS[kind]:
        toolchains.program(program, *pkix_clients.PLACES)


@pytest.mark.parametrize("anchors", COLUMN)
@pytest.mark.parametrize("kind", kinds(pkix_clients.DIAL))
def test_who_dials_lets_in_what_its_anchors_allow(kind, anchors, material, tmp_path):
    need(kind)
    wanted = expected(kind, "dials", anchors)
    said = {chain: pkix_clients.lets_server_in(kind, material, anchors, chain, tmp_path)
            for chain in wanted}
    assert said == wanted


@pytest.mark.parametrize("anchors", COLUMN)
@pytest.mark.parametrize("kind", kinds(pkix_clients.SERVE))
def test_who_serves_lets_in_what_its_anchors_allow(kind, anchors, material, tmp_path):
    need(kind)
    wanted = expected(kind, "serves", anchors)
    assert pkix_clients.lets_clients_in(kind, material, anchors, wanted, tmp_path) == wanted


def test_the_published_table_names_these_programs_and_these_chains():
    text = DOCUMENT.read_text(encoding="utf-8")
    chains = re.findall(r"^\| `([a-z-]+)` \| .* \| (\S+) \| (\S+) \|$", text, re.M)
    spoken = {True: "accepted", False: "refused"}
    assert {name: (twins, root) for name, twins, root in chains} == {
        **{name: (spoken[twins], spoken[root]) for name, (twins, root) in LET_IN.items()}}
    for table, heading in ((pkix_clients.DIAL, "Who dials"), (pkix_clients.SERVE, "Who serves")):
        line, = re.findall(rf"^{heading}: ([^.]*)\.$", text, re.M)
        assert re.findall(r"`([^`]+)`", line) == [pkix_clients.SPOKEN[heading][k] for k in table]
