# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Killed at any instant, full disks, garbage: nothing is lost and service goes on."""

import base64
import json
import os
import signal
import socket
import subprocess
import threading

from deployment import TRUST_DOMAIN, wait_for

ME = f"unix:uid:{os.geteuid()}"


def served(deployment, node):
    return deployment.fetch(node, "--timeout", "5s").returncode == 0


def test_an_agent_restarted_without_its_ca_serves_from_its_sealed_state(ca):
    agent = ca.join("a")
    ca.identity("/web", ME)
    wait_for("the certificate", lambda: served(ca, "a"))
    ca.ca.kill()
    agent.kill()
    ca.start_agent("a")
    wait_for("the sealed certificate", lambda: served(ca, "a"))


def test_a_ca_killed_while_issuing_has_every_certificate_that_left_in_its_log(ca):
    ca.join("a")
    got = set()
    for round_number in range(5):
        for i in range(10):
            ca.identity(f"/r{round_number}/s{i}", ME, "--ttl", "1h")
        pause = threading.Event()
        pause.wait(0.01 * round_number)
        ca.ca.kill()
        text = ca.fetch("a", "-o", "json", "--timeout", "1s").stdout
        got |= serials(text)
        ca.start_ca()
    wait_for("all fifty", lambda: len(serials(ca.fetch("a", "-o", "json").stdout)) == 50)
    got |= serials(ca.fetch("a", "-o", "json").stdout)
    lines = ca.out("log", "tail", "--issued", "-o", "json").splitlines()
    entries = [json.loads(line) for line in lines]
    logged = {base64.b64decode(entry["serial"]).hex().upper() for entry in entries}
    assert got and got <= logged
    assert ca.run("log", "verify").returncode == 0


def serials(text):
    try:
        contexts = json.loads(text)
    except ValueError:
        return set()
    found = set()
    for identity in contexts.get("identities", []):
        leaf = base64.b64decode(identity["chain"][0])
        shown = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-serial"],
                               input=leaf, capture_output=True).stdout.decode()
        found.add(shown.strip().split("=")[1])
    return found


def test_an_agent_killed_again_and_again_while_sealing_always_comes_back(ca):
    agent = ca.join("a")
    wait_for("the node to have joined", lambda: "1 of 1" in ca.run("coverage", check=False).stdout)
    pause = threading.Event()
    for i in range(8):
        ca.identity(f"/s{i}", ME)
        pause.wait(0.02 * i)
        agent.kill()
        agent = ca.start_agent("a")
    wait_for("all eight", lambda: len(serials(ca.fetch("a", "-o", "json").stdout)) == 8)


def test_a_damaged_sealed_state_is_named_and_not_deleted(ca):
    agent = ca.join("a")
    ca.identity("/web", ME)
    wait_for("the certificate", lambda: served(ca, "a"))
    agent.kill()
    sealed = ca.agent_dir("a") / "private" / "state.sealed"
    damaged = sealed.read_bytes()[:-1] + b"?"
    sealed.write_bytes(damaged)
    again = ca.start("damaged", ca.agent_args("a"))
    wait_for("the complaint", lambda: "state.sealed" in again.text())
    kept = [p.read_bytes() for p in sealed.parent.iterdir() if p.name.startswith("state.sealed")]
    assert damaged in kept


def test_garbage_on_every_socket_changes_nothing(ca):
    ca.join("a")
    ca.identity("/web", ME)
    wait_for("the certificate", lambda: served(ca, "a"))
    for i in range(100):
        with socket.create_connection(("127.0.0.1", ca.ca_port)) as tcp:
            tcp.sendall(os.urandom(512))
        with socket.socket(socket.AF_UNIX) as unix:
            unix.connect(str(ca.socket("a")))
            unix.sendall(os.urandom(512))
    assert served(ca, "a")
    assert ca.ca_answers()


def test_sigterm_ends_both_programs_cleanly(ca):
    agent = ca.join("a")
    wait_for("full coverage", lambda: ca.run("coverage", check=False).returncode == 0)
    assert agent.kill(signal.SIGTERM) == 0
    assert ca.ca.kill(signal.SIGTERM) == 0
    assert not ca.socket("a").exists()


def test_sigterm_to_everybody_at_once_ends_everybody(ca):
    agent = ca.join("a")
    ca.identity("/web", ME)
    for _ in range(6):
        wait_for("the certificate", lambda: served(ca, "a"))
        for process in (ca.ca, agent):
            process.popen.send_signal(signal.SIGTERM)
        assert ca.ca.wait() == 0
        assert agent.wait() == 0
        ca.start_ca()
        agent = ca.start_agent("a")


def test_an_operator_change_that_was_answered_survives_a_kill(ca):
    for i in range(20):
        ca.identity(f"/s{i}", ME)
    ca.ca.kill()
    ca.start_ca()
    assert len(ca.json("identity", "list")["identities"]) == 20


def test_keys_are_readable_by_their_owner_only(ca):
    ca.join("a")
    for folder in (ca.ca_dir, ca.agent_dir("a") / "private"):
        for path in folder.rglob("*"):
            if path.is_file() and (path.suffix in (".pem", ".key", ".db") or "sealed" in path.name):
                assert path.stat().st_mode & 0o077 == 0, path
    assert TRUST_DOMAIN in ca.out("bundle", "show")
