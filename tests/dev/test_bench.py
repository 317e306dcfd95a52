# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""./dev bench measures what it says it does; what the figures are is nobody's business here."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BIN = pathlib.Path(os.environ.get("LINCHPIN_BIN", ROOT / "build/release/bin"))
RUN = [sys.executable, "-B", ROOT / "tests/bench/run.py"]


@pytest.mark.skipif(not (BIN / "linchpin-bench-load").exists(), reason="it is not built")
def test_a_quick_run_gives_a_table_and_json_with_every_row(tmp_path):
    done = subprocess.run([*RUN, "--quick", "--json", tmp_path / "figures.json"],
                          capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                          env={**os.environ, "LINCHPIN_BIN": str(BIN)})
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures["quick"] is True
    rows = {row["key"]: row for row in figures["rows"]}
    assert len(rows) == len(figures["rows"])
    assert set(rows) >= {
        "issue_batch", "issue_single", "created", "deleted", "first_context", "first_context_cpu",
        "fetch_svid", "fetch_svid_cpu", "fetch_svid_kept", "fetch_svid_memory",
        "rss_idle", "rss_identities", "rss_subscriber", "restart", "handshake_sdk",
        "handshake_foreign", "handshake_twin", "handshake_first", "verdict", "idle_agent",
        "idle_ca", "fleet", "fleet_trust", "fleet_quiet", "rotation", "rotation_refused",
        "envoy"}
    for row in rows.values():
        assert row["what"] in done.stdout
        if row["missing"].startswith("no Envoy here"):
            continue
        assert row["value"] is not None, f"{row['key']} is not measured: {row['missing']}"
        assert row["verdict"] in ("ok", "MISS", "no target")


@pytest.mark.skipif(not (BIN / "linchpin-bench-load").exists(), reason="it is not built")
def test_one_measurement_has_as_many_agents_as_one_asks_for():
    done = subprocess.run([*RUN, "fleet", "--agents", "3", "--quick", "-o", "json"],
                          capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                          env={**os.environ, "LINCHPIN_BIN": str(BIN)})
    assert done.returncode == 0, done.stderr
    rows = {row["key"]: row for row in json.loads(done.stdout)["rows"]}
    assert "rotation" not in rows
    assert "3 nodes" in rows["fleet"]["what"]


@pytest.mark.parametrize("wrong", [["--only", "nonsense"], ["nonsense"], ["fleet", "--agents", "0"],
                                   ["fleet", "--agents", "many"]])
def test_what_cannot_be_measured_is_bad_usage(wrong):
    done = subprocess.run([*RUN, *wrong], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert wrong[-1] in done.stderr
