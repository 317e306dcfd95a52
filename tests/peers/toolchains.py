# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Builds the foreign clients with their own toolchains, into build/peers/, or says what is missing.

A test is skipped only where a toolchain is missing or too old or its registry cannot be reached.
Everything else that goes wrong is a failure. What was built once is not built again.
"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
BUILT = HERE.parents[1] / "build/peers"
PATIENCE = 900  # a first build, on a slow machine that has other things to do

UNREACHABLE = re.compile(
    r"dial tcp|no such host|could not resolve host|unknown host|name or service not known|"
    r"temporary failure in name resolution|connection refused|timed? ?out|network is unreachable|"
    r"could ?n.t connect to|failed to establish a new connection|transfer failed for|\b50[234]\b",
    re.IGNORECASE)
TOO_OLD = re.compile(
    r"requires go >= |go\.mod requires|requires rustc [0-9]|invalid target release|"
    r"release version \d+ not supported|lock file version .* requires")


def why_skipped(output):
    """Why a build may be skipped whose output this is; None where it failed for good."""
    for what, pattern in (("toolchain too old", TOO_OLD), ("registry unreachable", UNREACHABLE)):
        for line in output.splitlines():
            if pattern.search(line):
                return f"{what}: {line.strip()[:200]}"
    return None


def program(name, *places):
    """Where it is: on PATH, or in one of the places that installers use without saying so."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(os.path.expanduser, places)])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"FOREIGN CLIENT NOT TESTED: no {name} here")
    return found


def run(args, folder, **env):
    done = subprocess.run([str(a) for a in args], cwd=folder, text=True, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env={**os.environ, **env}, check=False)
    if done.returncode == 0:
        return
    what = f"{pathlib.Path(args[0]).name} in {folder.relative_to(HERE.parents[1])}"
    reason = why_skipped(done.stdout)
    if reason is not None:
        pytest.skip(f"FOREIGN CLIENT NOT TESTED: {what}: {reason}")
    raise AssertionError(f"{what}:\n{done.stdout[-4000:]}")


def fresh(target, *sources):
    """Whether `target` was made of these very sources; else what is there is removed."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    stamp = target.with_name(target.name + ".sha256")
    current = digest.hexdigest()
    if target.exists() and stamp.exists() and stamp.read_text() == current:
        return True, lambda: None
    stamp.unlink(missing_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    return False, lambda: stamp.write_text(current)


def go(folder):
    """A Go module -> its program."""
    compiler = program("go", "/usr/local/go/bin", "/usr/lib/go/bin")
    target = BUILT / "go" / folder.name
    target.parent.mkdir(parents=True, exist_ok=True)
    # The versions of go.mod and go.sum and no other; the compiler that is here and no other.
    run([compiler, "build", "-mod=readonly", "-buildvcs=false", "-o", target, "."], folder,
        GOTOOLCHAIN="local", GOFLAGS="")
    return target


def rust(folder):
    """A Cargo package -> its program, which bears the package's name."""
    cargo = program("cargo", "~/.cargo/bin")
    name = re.search(r'^name = "(.+)"', (folder / "Cargo.toml").read_text(), re.M).group(1)
    run([cargo, "build", "--locked", "--quiet"], folder, CARGO_TARGET_DIR=str(BUILT / "rust"))
    return BUILT / "rust/debug" / name


def java(folder):
    """A Maven project of one folder -> the class path of its classes and their libraries."""
    javac, maven = program("javac"), program("mvn")
    sources = sorted((folder / "src").rglob("*.java"))
    libraries, classes = BUILT / "java/lib", BUILT / "java/classes"
    there, done = fresh(libraries, folder / "pom.xml")
    if not there:
        # With its version, or an unreachable registry looks like a mistake in the name.
        copier = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
        run([maven, "-B", "-q", f"-DoutputDirectory={libraries}", f"{copier}:copy-dependencies"],
            folder)
        done()
    there, done = fresh(classes, folder / "pom.xml", *sources)
    if not there:
        run([javac, "--release", "17", "-Xlint:all,-path,-options", "-Werror", "-proc:none", "-cp",
             f"{libraries}/*", "-d", classes, *sources], folder)
        done()
    return f"{classes}:{libraries}/*"


def python(folder):
    """requirements.txt with hashes -> the interpreter of an environment that has them."""
    interpreter = program("/usr/bin/python3")
    target = BUILT / "python" / folder.name
    there, done = fresh(target, folder / "requirements.txt")
    if not there:
        run([interpreter, "-m", "venv", target], folder)
        # pip says that it could not connect only where it tries again.
        run([target / "bin/python", "-m", "pip", "install", "--quiet", "--retries", "2",
             "--require-hashes", "--only-binary", ":all:", "-r", "requirements.txt"], folder)
        done()
    return target / "bin/python"
