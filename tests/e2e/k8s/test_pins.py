# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A signed pin set comes by an object; then the issuer is replaced under traffic."""

import subprocess

import pytest
from cluster import ours
from deployment import BIN, wait_for

pytestmark = pytest.mark.k8s


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    key = tmp_path_factory.mktemp("signer") / "signer.key"
    subprocess.run([BIN / "linchpin", "pins", "keygen", "--out", key], check=True,
                   capture_output=True)
    return key


def carry(cluster, document):
    cluster.apply(ours("PinSet", "mesh", {"document": document.read_text()}))


def wait_published(cluster, version):
    wait_for(f"pin set {version} to be published",
             lambda: cluster.get("pinset", "mesh")["status"].get("version") == version
             and cluster.standing("pinset", "mesh")[0] == "True")
    wait_for("every node to have it", lambda: {
        int(node.get("pinSetVersion", 0))
        for node in cluster.linchpin("node", "list")["nodes"]} == {version})


def test_a_pin_set_that_its_signers_signed_is_carried_by_an_object(cluster, traffic, signer,
                                                                   tmp_path):
    document = tmp_path / "set-1.json"
    cluster.at_the_ca("pins", "draft", "--signer", signer, "--threshold", "1", "--out", document)
    carry(cluster, document)
    wait_for("it to be refused: nobody has signed it",
             lambda: cluster.standing("pinset", "mesh")[0] == "False")
    cluster.at_the_ca("pins", "sign", "--key", signer, document)
    carry(cluster, document)
    wait_published(cluster, 1)
    assert traffic.goes_on() == 0


def active_issuer(cluster):
    (one,) = [a for a in cluster.linchpin("ca", "pins")["authorities"]
              if a["kind"] == "issuer" and a["state"] == "active"]
    return one["spkiSha256"]


def test_the_issuer_is_replaced_under_traffic_and_nobody_is_refused(cluster, traffic, signer,
                                                                    tmp_path):
    before = active_issuer(cluster)
    serials = [traffic.serial(name) for name in ("web", "api")]
    cluster.at_the_ca("rotate", "prepare", "--what", "issuer")
    document = tmp_path / "set-2.json"
    cluster.at_the_ca("rotate", "draft", "--out", document)
    cluster.at_the_ca("pins", "sign", "--key", signer, document)
    carry(cluster, document)
    wait_published(cluster, 2)
    wait_for("the gate to open", lambda: cluster.at_the_ca(
        "rotate", "activate", check=False).returncode == 0, 120)
    assert active_issuer(cluster) != before
    # Renewals would come in half an hour; a shorter life brings them now.
    cluster.default_identity(ttl="40s")
    wait_for("certificates of the new issuer", lambda: all(
        traffic.serial(name) != serial for name, serial in zip(("web", "api"), serials)), 180)
    assert traffic.goes_on() == 0
    cluster.kubectl("delete", "workloadidentity", "default")
    counts = traffic.counts()
    print(f"\n  pin sets and the issuer replaced under traffic: {counts['ok']} calls, "
          f"{counts['failed']} refused")
