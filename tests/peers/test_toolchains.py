# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What may be skipped is skipped, and nothing else is."""

import pytest
import toolchains


@pytest.mark.parametrize("output", [
    'go: example.org/x@v1.0.0: Get "https://proxy.golang.org/…": dial tcp: lookup: no such host',
    "go: go.mod requires go >= 1.25.0 (running go 1.19.8; GOTOOLCHAIN=local)",
    "error: failed to download from `…`\nCaused by:\n  [6] Could not resolve host: crates.io",
    "error: rustc 1.63.0 is not supported by the following packages:\n  a@1 requires rustc 1.88",
    "[ERROR] Could not transfer artifact a:b:pom:1 from/to central: transfer failed for https://…",
    "WARNING: Retrying (Retry(total=4)) after 'NewConnectionError(': Name or service not known')'",
    "error: release version 17 not supported",
])
def test_a_toolchain_that_is_too_old_or_alone_is_a_reason_to_skip(output):
    assert toolchains.why_skipped(output)


@pytest.mark.parametrize("output", [
    "./main.go:7:2: undefined: nonsense",
    "verifying example.org/x@v1.0.0: checksum mismatch",
    "error[E0425]: cannot find function `nonsense` in this scope",
    "error: the lock file Cargo.lock needs to be updated but --locked was passed to prevent this",
    "Peer.java:9: error: cannot find symbol",
    "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
])
def test_a_mistake_of_ours_is_a_failure(output):
    assert toolchains.why_skipped(output) is None


def test_a_program_that_is_not_there_skips_loudly():
    with pytest.raises(pytest.skip.Exception, match="no such-a-compiler here"):
        toolchains.program("such-a-compiler")


def test_what_was_built_of_other_sources_is_not_fresh(tmp_path):
    source, target = tmp_path / "source", tmp_path / "built"
    source.write_text("1")
    there, done = toolchains.fresh(target, source)
    assert not there
    target.write_text("of 1")
    assert not toolchains.fresh(target, source)[0], "the build was cut short"
    done()
    assert toolchains.fresh(target, source)[0]
    source.write_text("2")
    assert not toolchains.fresh(target, source)[0]
