# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The backup issuer takes over under traffic. The commands are those of the runbook."""

import json
import os
import shutil
import signal
import stat
import subprocess
import threading

import pytest
from deployment import BIN, wait_for
from runbook import Runbook
from test_first_contact import publish
from test_rotation import LONGER_LIVES, Mesh, kill_ca

RUNBOOK = Runbook("fail-over")


@pytest.fixture
def mesh(deployment):
    return Mesh(deployment)


@pytest.fixture
def patient_mesh(deployment):
    return Mesh(deployment, LONGER_LIVES)


def make_backup(deployment, name="backup.key"):
    deployment.run("ca", "backup", "create", "--out", deployment.folder / name)
    return deployment.folder / name


def wait_until_ready(deployment):
    wait_for("all to trust the backup",
             lambda: deployment.run("failover", "--check", check=False).returncode == 0)


def key_files(deployment):
    return {path.name for path in (deployment.ca_dir / "keys").iterdir()}


def states(mesh):
    return {a["spkiSha256"]: a["state"]
            for a in mesh.deployment.json("ca", "pins")["authorities"] if a["kind"] == "issuer"}


def test_the_backup_takes_over_under_traffic_and_nobody_is_refused(mesh):
    deployment = mesh.deployment
    old = mesh.active_issuer()["spkiSha256"]
    before = key_files(deployment)
    key = make_backup(deployment)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key_files(deployment) <= before, "the key is not the CA's"
    wait_until_ready(deployment)
    assert "a failover could be done now" in RUNBOOK.run("check", deployment).stdout
    RUNBOOK.run("fail over", deployment)
    new = mesh.active_issuer()["spkiSha256"]
    assert new != old and states(mesh)[old] == "retiring"
    shown = RUNBOOK.run("see", deployment).stdout
    assert "a failover: activated" in shown
    pin = RUNBOOK.run("which key", deployment, FILE="backup.key").stdout.strip()
    assert pin == new
    RUNBOOK.run("new backup", deployment)
    wait_until_ready(deployment)
    RUNBOOK.run("check again", deployment)
    RUNBOOK.run("drain", deployment)
    assert mesh.served_by("a") == mesh.served_by("b") == new
    RUNBOOK.run("drop", deployment)
    wait_for("the end", lambda: mesh.status()["step"] == "DONE")
    assert states(mesh)[old] == "retired"
    wait_for("the old key to be deleted", lambda: "issuer-1.pem" not in key_files(deployment))
    mesh.nothing_was_refused()
    private = key.read_text().splitlines()[1]
    for process in deployment.processes:
        assert private not in process.text()
    assert private not in deployment.out("log", "tail", "-o", "json")


def test_under_a_signed_set_too_though_the_ca_is_killed_at_every_step(mesh):
    deployment = mesh.deployment
    key = make_backup(deployment)
    deployment.run("failover", "--check", check=False)
    signer = publish(deployment, deployment.folder, "--backup-key", key)
    shutil.copy(signer, deployment.folder / "alice.key")
    (deployment.folder / "alice.key").chmod(0o600)
    wait_until_ready(deployment)
    kill_ca(mesh)
    wait_until_ready(deployment)
    RUNBOOK.run("fail over", deployment)
    kill_ca(mesh)
    RUNBOOK.run("new backup", deployment)
    waiting = deployment.run("failover", "--check", check=False)
    assert waiting.returncode == 1 and "pins draft" in waiting.stdout, waiting.stdout
    kill_ca(mesh)
    RUNBOOK.run("name it", deployment)
    wait_until_ready(deployment)
    kill_ca(mesh)
    deployment.run("rotate", "drain", "--wait")
    kill_ca(mesh)
    deployment.run("rotate", "drop")
    RUNBOOK.run("sign the drop", deployment)
    kill_ca(mesh)
    wait_for("the end", lambda: mesh.status()["step"] == "DONE")
    mesh.nothing_was_refused()


def test_it_is_done_whole_or_not_at_all_when_the_ca_is_killed_meanwhile(mesh):
    deployment = mesh.deployment
    key = make_backup(deployment)
    pause = threading.Event()
    for milliseconds in range(0, 12, 2):
        wait_until_ready(deployment)
        ca = deployment.ca
        command = subprocess.Popen([*deployment.command(), "failover", "--key", str(key)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pause.wait(milliseconds / 1000)
        ca.kill()
        command.wait(timeout=60)
        mesh.start_ca()
        active = [pin for pin, state in states(mesh).items() if state == "active"]
        assert len(active) == 1
        if mesh.status().get("what") == "failover" and mesh.status()["step"] == "ACTIVATED":
            break
    else:
        wait_until_ready(deployment)
        deployment.run("failover", "--key", key)
    again = deployment.run("failover", "--key", key, check=False)
    assert again.returncode == 1 and "signs already" in again.stderr
    mesh.nothing_was_refused()


def test_a_key_that_is_no_backups_is_refused_and_the_right_one_named(mesh):
    deployment = mesh.deployment
    deployment.ca.kill()
    shutil.copytree(deployment.ca_dir, deployment.folder / "old-state",
                    ignore=shutil.ignore_patterns("*.sock"))
    mesh.start_ca()
    key = make_backup(deployment)
    # An older state comes back, which knows nothing of that backup.
    deployment.ca.kill()
    shutil.rmtree(deployment.ca_dir)
    os.rename(deployment.folder / "old-state", deployment.ca_dir)
    mesh.start_ca()
    refused = deployment.run("failover", "--key", key, check=False)
    assert refused.returncode == 1
    first = [a for a in deployment.json("ca", "pins")["authorities"] if a["state"] == "backup"][0]
    for said in ("of nothing that this CA knows", first["spkiSha256"], "failover --check"):
        assert said in refused.stderr, refused.stderr
    key.chmod(0o640)
    shown = deployment.run("failover", "--key", key, check=False)
    assert shown.returncode == 1 and "chmod 600" in shown.stderr
    mesh.nothing_was_refused()


def test_a_stopped_agent_closes_the_gate_and_is_left_out_by_name(patient_mesh):
    mesh, deployment = patient_mesh, patient_mesh.deployment
    mesh.agents["b"].popen.send_signal(signal.SIGSTOP)
    make_backup(deployment)
    refused = RUNBOOK.run("fail over", deployment, check=False)
    assert refused.returncode == 1
    for said in (deployment.node_id("b"), "--except", "--now"):
        assert said in refused.stderr, refused.stderr
    wait_for("the other node", lambda: deployment.node_id("a") not in deployment.run(
        "failover", "--check", check=False).stdout)
    RUNBOOK.run("leave out", deployment, NODE="b")
    assert mesh.status()["except"] == [deployment.node_id("b")]
    RUNBOOK.run("take back", deployment)
    assert mesh.status()["step"] == "ABORTED"
    RUNBOOK.run("at once", deployment)
    assert mesh.status()["except"] == [deployment.node_id("b")]
    mesh.agents["b"].popen.send_signal(signal.SIGCONT)
    wait_for("the node to hear of it",
             lambda: "2 of 2" in deployment.run("coverage", check=False).stdout)
    mesh.nothing_was_refused()


def test_what_the_old_issuer_made_is_replaced_and_its_key_denied_with_nobody_refused(deployment):
    mesh = Mesh(deployment, "authority:\n  backdate: 0s\n")  # else all live an hour and more
    old = mesh.active_issuer()["spkiSha256"]
    make_backup(deployment)
    wait_until_ready(deployment)
    shown = deployment.json("failover", "--check")
    assert shown["backups"][0]["canaryGood"] == 2, shown
    RUNBOOK.run("fail over", deployment)
    new = mesh.active_issuer()["spkiSha256"]

    def issuers_of(spiffe_id):
        lines = deployment.out("log", "tail", "--issued", "-o", "json").splitlines()
        return [e["issuerKeySha256"] for e in map(json.loads, lines) if e["spiffeId"] == spiffe_id]

    for spiffe_id in (mesh.web.id, mesh.payments.id, *map(deployment.node_id, "ab")):
        wait_for(f"{spiffe_id} to be replaced", lambda i=spiffe_id: issuers_of(i)[-1] == new)
        assert issuers_of(spiffe_id).count(new) == 1, "once is enough"
    served = mesh.web.counts()["ok"]
    wait_for("traffic with the new ones", lambda: mesh.web.counts()["ok"] > served + 20)
    RUNBOOK.run("deny the old key", deployment, OLD_PIN=f"sha256:{old}")
    wait_for("all to deny it",
             lambda: "2 of 2" in deployment.run("coverage", check=False).stdout)
    mesh.nothing_was_refused()


def test_each_command_of_the_runbook_was_run():
    RUNBOOK.each_was_run()
