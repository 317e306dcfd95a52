# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What runbooks tell an operator to type does what they say. (fail-over.md: test_failover.py.)"""

import json
import shutil
import signal

import pytest
from deployment import TRUST_DOMAIN, wait_for
from pinned_world import Files, World
from runbook import Runbook
from test_restored_ca import copy_tree
from test_rotation import LONGER_LIVES, Mesh

ROTATE = Runbook("rotate")
SIGNERS = Runbook("rotate-signers")
SILENT = Runbook("silent-node")
EMERGENCY = Runbook("pin-emergency")
COMPROMISED = Runbook("compromised-ca")


def two_sign(deployment):
    """Pin set 1, by two of three signers whose keys lie in the deployment's folder."""
    names = ("alice", "bob", "carol")
    for name in names:
        deployment.out("pins", "keygen", "--out", deployment.folder / f"{name}.key")
    draft = deployment.folder / "pins-1.json"
    publics = [arg for name in names
               for arg in ("--signer", deployment.folder / f"{name}.key.pub")]
    deployment.out("pins", "draft", *publics, "--threshold", "2", "--out", draft)
    for name in ("alice", "bob"):
        deployment.out("pins", "sign", "--key", deployment.folder / f"{name}.key", draft)
    deployment.out("pins", "publish", draft)


def covered(deployment):
    return deployment.run("coverage", check=False).returncode == 0


def mesh_on_a_copy(mesh):
    """The CA runs on a copy of its store that is three epochs older than what the nodes hold."""
    deployment, copy = mesh.deployment, mesh.deployment.folder / "copy"
    deployment.ca.kill()
    copy_tree(deployment.ca_dir, copy)
    mesh.start_ca()
    for name in ("x", "y", "z"):
        deployment.out("revoke", "--id", f"spiffe://{TRUST_DOMAIN}/{name}")
    wait_for("all to have it", lambda: covered(deployment))
    deployment.ca.kill()
    shutil.rmtree(deployment.ca_dir)
    copy_tree(copy, deployment.ca_dir)
    mesh.start_ca()


@pytest.fixture
def mesh(deployment):
    return Mesh(deployment)


@pytest.fixture
def patient_mesh(deployment):
    return Mesh(deployment, LONGER_LIVES)


def test_the_issuer_is_rotated_as_the_runbook_says(mesh):
    deployment, old = mesh.deployment, mesh.active_issuer()["spkiSha256"]
    ROTATE.run("prepare", deployment, WHAT="issuer")
    ROTATE.run("take back", deployment)
    ROTATE.run("prepare", deployment, WHAT="issuer")
    ROTATE.run("distribute", deployment)
    ROTATE.run("activate", deployment)
    assert mesh.active_issuer()["spkiSha256"] != old
    ROTATE.run("drain", deployment)
    ROTATE.run("drop", deployment)
    wait_for("the end", lambda: "done" in ROTATE.run("status", deployment).stdout)
    mesh.nothing_was_refused()


def test_the_root_is_rotated_under_signed_sets_as_the_runbook_says(mesh):
    deployment, old = mesh.deployment, mesh.deployment.root_pin()
    two_sign(deployment)
    ROTATE.run("prepare", deployment, WHAT="root")
    ROTATE.run("sign the new key", deployment)
    ROTATE.run("activate", deployment)
    ROTATE.run("drain", deployment)
    ROTATE.run("drop", deployment)
    ROTATE.run("sign without the old key", deployment)
    wait_for("the end", lambda: "done" in ROTATE.run("status", deployment).stdout)
    assert deployment.root_pin() != old
    mesh.nothing_was_refused()


def test_a_lost_signer_is_replaced_as_the_runbook_says(mesh):
    deployment = mesh.deployment
    two_sign(deployment)
    (deployment.folder / "bob.key").unlink()
    SIGNERS.run("prepare", deployment)
    SIGNERS.run("take back", deployment)
    for label in ("keygen", "prepare", "draft", "sign", "publish", "export"):
        SIGNERS.run(label, deployment)
    wait_for("the end", lambda: mesh.status()["step"] == "DONE")
    signers = json.loads((deployment.folder / "signers.json").read_text())
    public = (deployment.folder / "dora.key.pub").read_text().splitlines()[1:-1]
    assert "".join(public) in signers["signers"]["keys"]
    assert signers["minimumVersion"] == "2"
    mesh.nothing_was_refused()


def test_a_node_is_left_out_brought_back_or_banned_as_the_runbooks_say(patient_mesh):
    mesh, deployment = patient_mesh, patient_mesh.deployment
    mesh.agents["b"].popen.send_signal(signal.SIGSTOP)
    ROTATE.run("prepare", deployment, WHAT="issuer")
    ROTATE.run("distribute", deployment)
    assert deployment.node_id("b") in SILENT.run("see", deployment).stdout
    ROTATE.run("leave out", deployment, NODE="b")
    mesh.agents["b"].popen.send_signal(signal.SIGCONT)
    SILENT.run("wait", deployment)
    SILENT.run("ban", deployment, NODE="b")
    wait_for("all who are left", lambda: covered(deployment))
    SILENT.run("see without", deployment)


def test_the_key_of_a_compromised_ca_is_denied_as_the_runbook_says(patient_mesh):
    """Nodes are not to renew twice while the copy is put in place, which knows one key before."""
    mesh, deployment = patient_mesh, patient_mesh.deployment
    two_sign(deployment)
    deployment.out("ca", "backup", "create", "--out", deployment.folder / "backup.key")
    draft = deployment.folder / "pins-2.json"
    deployment.out("pins", "draft", "--backup-key", deployment.folder / "backup.key",
                   "--out", draft)
    for name in ("alice", "bob"):
        deployment.out("pins", "sign", "--key", deployment.folder / f"{name}.key", draft)
    deployment.out("pins", "publish", draft)
    wait_for("all to have it", lambda: covered(deployment))
    old = mesh.active_issuer()["spkiSha256"]
    mesh_on_a_copy(mesh)
    COMPROMISED.run("see", deployment)
    wait_for("the nodes to keep what they hold",
             lambda: "linchpin ca restored" in deployment.run("coverage", check=False).stdout)
    COMPROMISED.run("restored", deployment)
    COMPROMISED.run("take over", deployment)
    new = mesh.active_issuer()["spkiSha256"]
    wait_for("new certificates",
             lambda: mesh.served_by("a") == mesh.served_by("b") == new != old)
    COMPROMISED.run("deny", deployment, OLD=f"sha256:{old}")
    COMPROMISED.run("verify", deployment)
    deployment.identity("/theirs", "unix:uid:0")
    deployment.out("operator", "create", "--name", "mallory", "--role", "admin", "--key-out",
                   deployment.folder / "mallory.key", "--cert-out",
                   deployment.folder / "mallory.pem")
    COMPROMISED.run("token", deployment, NODE="theirs")
    COMPROMISED.run("take away", deployment, IDENTITY=f"spiffe://{TRUST_DOMAIN}/theirs",
                    OPERATOR="mallory", NODE="theirs")
    COMPROMISED.run("new backup", deployment)
    wait_for("all to have it", lambda: covered(deployment))


def test_pins_are_relaxed_with_the_ca_and_without_as_the_runbook_says(ca):
    carrier = Files(ca)
    world = World(ca, signed_node=True, agent_args=("--pin-set-file", carrier.folder))

    def relaxed():
        return int(world.pins_of_service()["pins"].get("relaxedUntil", 0))

    EMERGENCY.run("prepare", ca)
    EMERGENCY.run("play", ca)
    wait_for("the pins to be relaxed", relaxed)
    EMERGENCY.run("end", ca)
    wait_for("the newer set to end it", lambda: not relaxed())
    for file in ("relax.json", "pins-next.json"):
        (ca.folder / file).unlink()
    EMERGENCY.run("prepare", ca)
    ca.ca.kill()
    EMERGENCY.run("play by hand", ca, PINS_DIR=carrier.folder)
    wait_for("the pins to be relaxed", relaxed)


@pytest.mark.parametrize("runbook", [ROTATE, SIGNERS, SILENT, EMERGENCY, COMPROMISED],
                         ids=lambda runbook: runbook.path.stem)
def test_each_command_of_the_runbook_was_run(runbook):
    runbook.each_was_run()
