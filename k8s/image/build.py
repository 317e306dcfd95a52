#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""An image of programs that were built: they, their libraries, nothing else. Beside it, what is in
it: OUT.spdx.json.

build.py BIN OUT.tar                      localhost/linchpin:1, of the programs themselves
build.py BIN OUT.tar NAME PROGRAM...      another
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import image  # noqa: E402
import sbom  # noqa: E402

PROGRAMS = ["linchpin-ca", "linchpin-agent", "linchpin"]
LOADED_LATER = ["libcurl.so.4"]  # where the API server is to be talked to
NAME = "localhost/linchpin:1"


def libraries_of(program):
    """Paths of the libraries that the loader would take, and of the loader."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    assert "not found" not in told, told
    return set(re.findall(r"(/[^ ]+) \(0x", told))


def path_of(library):
    told = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True,
                          check=True).stdout
    return next(line.split(" => ")[1] for line in told.splitlines()
                if line.split()[0] == library and "x86-64" in line)


def fill(rootfs, programs, later=()):
    """-> where on this machine each library is from, by its path in the image."""
    libraries = set()
    for library in map(path_of, later):
        libraries |= libraries_of(library) | {library}
    for program in programs:
        libraries |= libraries_of(program)
        target = rootfs / "usr/bin" / pathlib.Path(program).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(program, target)
        target.chmod(0o755)
        subprocess.run(["strip", str(target)], check=True)
    for library in sorted(libraries):
        target = rootfs / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library, target)
        target.chmod(0o755)
    for path in ("tmp", "run", "var/lib", "etc", "proc"):
        (rootfs / path).mkdir(parents=True, exist_ok=True)
    (rootfs / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    (rootfs / "etc/passwd").write_text("root:x:0:0::/:\nlinchpin:x:10001:10001::/:\n")
    (rootfs / "etc/group").write_text("root:x:0:\nlinchpin:x:10001:\n")
    for folder in [rootfs, *(p for p in rootfs.rglob("*") if p.is_dir())]:
        folder.chmod(0o755)
    return {library: library for library in libraries}


def build(binaries, out, name=NAME, programs=()):
    later = [] if programs else LOADED_LATER
    with tempfile.TemporaryDirectory() as folder:
        rootfs = pathlib.Path(folder)
        chosen = [str(pathlib.Path(binaries) / one) for one in programs or PROGRAMS]
        origins = fill(rootfs, chosen, later)
        told = subprocess.run([chosen[-1], "--version"], capture_output=True, text=True,
                              check=True).stdout
        sbom.write_sbom(name, told.split()[-1], rootfs, origins,
                        pathlib.Path(out).with_suffix(".spdx.json"))
        return image.write_image(name, out, rootfs)


if __name__ == "__main__":
    if len(sys.argv) not in (3, *range(5, 30)):
        sys.exit(__doc__)
    print(build(*sys.argv[1:4], programs=sys.argv[4:]))
