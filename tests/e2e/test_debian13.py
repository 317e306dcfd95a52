# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The images that were made on Debian 13, run here with nothing but what is in them: OpenSSL 3.5's
key agreement among themselves, and the older one with the programs of this machine."""

import gzip
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile

import pytest

from deployment import BIN, ROOT, TRUST_DOMAIN, wait_for
from key_exchange import HYBRID, group_with, groups_between, is_known

IMAGES = ROOT / "build/debian13/images"
MOST = 60_000_000  # bytes, compressed
SERVICE = "linchpin-demo-service"
HERE = HYBRID if is_known(HYBRID) else "X25519"

pytestmark = [pytest.mark.debian13, pytest.mark.skipif(
    os.geteuid() != 0 or not (IMAGES / "demo.tar").exists(),
    reason="NO DEBIAN 13 IMAGES: ./dev test --debian13 makes them, with root and debootstrap")]

# The image's own root, with the test's folder and the kernel's where they are here.
INSIDE = """#!/bin/sh
exec unshare --mount --propagation private sh -ec '
for each in /proc /dev {shared}; do mount --rbind "$each" "{rootfs}$each"; done
exec chroot {rootfs} /usr/bin/{program} "$@"' {program} "$@"
"""


def layer(archive, to):
    with tarfile.open(archive) as tar:
        largest = max((m for m in tar.getmembers() if m.name.startswith("blobs/")),
                      key=lambda member: member.size)
        with tarfile.open(fileobj=tar.extractfile(largest)) as files:
            files.extractall(to)


@pytest.fixture
def inside(tmp_path, tmp_path_factory):
    """A folder of programs that run as in a container of the images."""
    rootfs = tmp_path_factory.mktemp("rootfs")
    for name in ("linchpin", "demo"):
        layer(IMAGES / f"{name}.tar", rootfs)
    for folder in ("proc", "dev", str(tmp_path)):
        (rootfs / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
    programs = tmp_path / "inside"
    programs.mkdir()
    for program in ("linchpin-ca", "linchpin-agent", "linchpin", SERVICE):
        (programs / program).write_text(
            INSIDE.format(rootfs=rootfs, shared=tmp_path, program=program))
        (programs / program).chmod(0o755)
    return programs


def packages(name):
    held = json.loads((IMAGES / f"{name}.spdx.json").read_text())["packages"]
    return {one["name"]: one for one in held}


def test_the_image_is_small_and_of_debian_13():
    for name in ("linchpin", "demo"):
        assert len(gzip.compress((IMAGES / f"{name}.tar").read_bytes(), 6)) < MOST
        held = packages(name)
        openssl = next(one for package, one in held.items() if package.startswith("libssl3"))
        assert tuple(map(int, openssl["versionInfo"].split(".")[:2])) >= (3, 5)
        locators = [one["externalRefs"][0]["referenceLocator"] for package, one in held.items()
                    if package != "linchpin"]
        assert locators and all("distro=trixie" in each for each in locators)


def test_the_same_programs_give_the_same_image():
    """Made a second time, at another time and place."""
    make = 'mkdir -p "$1" && k8s/image/build.py build/release/bin "$1/$2.tar" "${@:3}"'
    for name, *what in (["linchpin"], ["demo", "localhost/linchpin-demo:1", SERVICE, "linchpin"]):
        subprocess.run([ROOT / "tests/debian13.sh", "bash", "-ec", make, "-", "build/again", name,
                        *what], check=True, stdout=sys.stderr)
        made = ROOT / "build/debian13/again"
        for suffix in (".tar", ".spdx.json"):
            assert (made / (name + suffix)).read_bytes() == (IMAGES / (name + suffix)).read_bytes()
    shutil.rmtree(made)


SIDES = ["inside", "outside"]


@pytest.mark.parametrize("ca_of, agent_of", itertools.product(SIDES, SIDES))
def test_they_understand_programs_of_this_machine(deployment, inside, ca_of, agent_of):
    folders = {"inside": inside, "outside": BIN}
    deployment.bin = folders[ca_of]
    deployment.start_ca()
    deployment.bin = folders[agent_of]
    deployment.join("a")
    me = f"spiffe://{TRUST_DOMAIN}/web"
    deployment.identity("/web", f"unix:uid:{os.geteuid()}")
    deployment.out("policy", "allow", "--from", me, "--to", me)
    wait_for("the node", lambda: "attested" in deployment.out("node", "list"))
    if ca_of == "inside":
        assert group_with(deployment.ca_port) == HERE
    for server, client in itertools.product(SIDES, SIDES):
        best = HYBRID if (server, client) == ("inside", "inside") else HERE
        assert groups_between(deployment, folders[server] / SERVICE,
                              folders[client] / SERVICE) == (best, best), (server, client)
