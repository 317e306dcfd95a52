# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The manifests fit the programs, and take no more than they say."""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
K8S = ROOT / "k8s"
BIN = pathlib.Path(os.environ.get("LINCHPIN_BIN", ROOT / "build/release/bin"))
sys.path.insert(0, str(K8S / "image"))
sys.path.insert(0, str(ROOT / "tests/e2e"))
import image  # noqa: E402
from deployment import Deployment, wait_for  # noqa: E402


def documents():
    return [item for path in sorted(K8S.rglob("*.yaml")) if path.name != "kustomization.yaml"
            for item in yaml.safe_load_all(path.read_text())]


def of_kind(*kinds):
    return [item for item in documents() if item["kind"] in kinds]


def pods():
    """Our own; samples have a namespace of theirs."""
    return [item["spec"]["template"]["spec"] for item in of_kind("Deployment", "DaemonSet")
            if "namespace" not in item["metadata"]]


def containers():
    return [one for pod in pods() for one in pod["containers"]]


def test_every_manifest_is_applied():
    def named(folder):
        for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]:
            yield from named(folder / name) if (folder / name).is_dir() else [folder / name]
    there = {path for path in K8S.rglob("*.yaml") if path.name != "kustomization.yaml"}
    assert set(named(K8S)) == {path for path in there if path.parent.name != "samples"}


def test_one_apply_is_enough():
    """What is of a kind that is defined in the same breath would be refused."""
    applied = [item for path in K8S.rglob("*.yaml") if path.parent.name != "samples"
               and path.name != "kustomization.yaml"
               for item in yaml.safe_load_all(path.read_text())]
    defined = {item["spec"]["names"]["kind"] for item in applied
               if item["kind"] == "CustomResourceDefinition"}
    assert defined and not defined & {item["kind"] for item in applied}


def test_no_drain_is_held_up_and_what_runs_comes_before_what_it_serves():
    budgets = of_kind("PodDisruptionBudget")
    assert budgets
    for budget in budgets:
        assert budget["spec"]["maxUnavailable"] == 1 and "minAvailable" not in budget["spec"]
        # By maxUnavailable it can count those of a Deployment, not of a DaemonSet.
        (labels,) = [item["spec"]["selector"] for item in of_kind("Deployment")
                     if item["metadata"]["name"] == budget["metadata"]["name"]]
        assert budget["spec"]["selector"] == labels
    (priority,) = of_kind("PriorityClass")
    assert {pod["priorityClassName"] for pod in pods()} == {priority["metadata"]["name"]}


def test_operators_are_listened_to_inside_the_pod_alone():
    (listen,) = [arg for one in containers() for arg in one["args"]
                 if arg.startswith("--admin-listen=")]
    assert listen == "--admin-listen=127.0.0.1:8444"


def test_the_programs_know_their_flags():
    for one in containers():
        program = one["command"][0]
        known = subprocess.run([BIN / program, "run", "--help"], capture_output=True, text=True,
                               check=True).stdout
        flags = [arg.split("=")[0] for arg in one["args"] if arg.startswith("--")]
        assert len(flags) > 3
        assert [flag for flag in flags if flag not in known] == []


def test_both_sides_mean_the_same():
    def value(one, flag):
        return next(arg.split("=", 1)[1] for arg in one["args"] if arg.startswith(f"{flag}="))
    ca, agent = (next(one for one in containers() if one["name"] == name)
                 for name in ("ca", "agent"))
    for flag in ("--trust-domain", "--kubernetes-cluster"):
        assert value(ca, flag) == value(agent, flag)
    volumes = next(pod for pod in pods() if pod["containers"][0] is not ca and
                   "hostPID" in pod)["volumes"]
    (token,) = [source["serviceAccountToken"] for volume in volumes if "projected" in volume
                for source in volume["projected"]["sources"]]
    assert token["audience"] == "linchpin-ca"  # the CA's default
    (mount,) = [m for m in agent["volumeMounts"] if m["name"] == "token"]
    assert f"{mount['mountPath']}/{token['path']}" == "/run/secrets/linchpin/token"
    assert value(agent, "--ca").startswith("linchpin-ca.linchpin.svc:")
    keys = {one["valueFrom"]["configMapKeyRef"]["name"] for one in agent["env"]
            if "configMapKeyRef" in one["valueFrom"]}
    source = (ROOT / "ca/kubernetes/source.cc").read_text()
    assert keys == set(re.findall(r'kTrustMap\[\] = "([^"]+)"', source))


def test_containers_are_confined():
    for one in containers():
        context = one["securityContext"]
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
        assert context["capabilities"]["drop"] == ["ALL"]
        assert set(context["capabilities"].get("add", [])) <= {"SYS_PTRACE", "DAC_READ_SEARCH"}
        assert "privileged" not in context
        assert one["resources"]["limits"]["memory"] and one["readinessProbe"]
        ports = {port["name"] for port in one["ports"]}
        assert {one[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")} \
            <= ports
    for pod in pods():
        context = pod["securityContext"]
        assert context["seccompProfile"]["type"] == "RuntimeDefault"
        if "fsGroup" in context:  # keys stay 0600 when the pod is made anew
            assert context["fsGroupChangePolicy"] == "OnRootMismatch"


def test_no_right_is_for_everything():
    rules = [rule for role in of_kind("ClusterRole", "Role") for rule in role["rules"]]
    assert rules
    for rule in rules:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        assert "secrets" not in rule["resources"]
        assert not {"delete", "update", "escalate", "impersonate"} & set(rule["verbs"])


def test_every_object_of_ours_fits_its_definition():
    schemas = {d["spec"]["names"]["kind"]: d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
               for d in of_kind("CustomResourceDefinition")}
    samples = of_kind(*schemas)
    assert {sample["kind"] for sample in samples} == set(schemas)

    def check(value, schema, where):
        if schema["type"] == "object" and "properties" in schema:
            assert set(schema.get("required", [])) <= set(value), where
            for name, part in value.items():
                check(part, schema["properties"][name], f"{where}.{name}")
        elif schema["type"] == "array":
            for part in value:
                check(part, schema["items"], where)
        elif schema["type"] == "string":
            assert value in schema.get("enum", [value]), where
            assert re.search(schema.get("pattern", ""), value), where
    for sample in samples:
        check(sample["spec"], schemas[sample["kind"]]["properties"]["spec"], sample["kind"])


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/program").write_text("#!/bin/sh\n")
    (root / "bin/program").chmod(0o755)
    return root


def test_an_image_of_the_same_folder_is_the_same(folder, tmp_path):
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    image.write_image("localhost/x:1", first, folder, ["/bin/program"])
    os.utime(folder / "bin/program", (1, 1))
    image.write_image("localhost/x:1", second, folder, ["/bin/program"])
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert {"oci-layout", "index.json"} <= set(archive.getnames())
    (folder / "bin/program").write_text("#!/bin/sh\nexit 1\n")
    image.write_image("localhost/x:1", second, folder, ["/bin/program"])
    assert first.read_bytes() != second.read_bytes()


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory):
    """What a container of the image sees."""
    folder = tmp_path_factory.mktemp("image")
    subprocess.run([sys.executable, "-B", K8S / "image/build.py", BIN, folder / "linchpin.tar"],
                   check=True, capture_output=True)
    with tarfile.open(folder / "linchpin.tar") as archive:
        layer = max((m for m in archive.getmembers() if m.name.startswith("blobs/")),
                    key=lambda member: member.size)
        with tarfile.open(fileobj=archive.extractfile(layer)) as tar:
            tar.extractall(folder / "root")
    return folder / "root"


def test_the_image_holds_the_programs_and_all_that_they_load(rootfs):
    for program in ("linchpin-ca", "linchpin-agent", "linchpin"):
        command = [f"/usr/bin/{program}", "--version"]
        if os.geteuid() == 0:  # with nothing but what is in it
            command = ["chroot", rootfs, *command]
        else:
            command[0] = f"{rootfs}{command[0]}"
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and program in done.stdout, done.stderr


def test_the_list_of_what_is_in_the_image_is_complete_and_true(rootfs):
    """Run before anything is written into it."""
    document = json.loads((rootfs.parent / "linchpin.spdx.json").read_text())
    assert document["spdxVersion"] == "SPDX-2.3"
    named = {one["fileName"]: {c["algorithm"]: c["checksumValue"] for c in one["checksums"]}
             for one in document["files"]}
    there = {"./" + str(path.relative_to(rootfs)): path for path in rootfs.rglob("*")
             if path.is_file()}
    assert set(named) == set(there)
    for name, path in there.items():
        assert named[name]["SHA256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    ids = {one["SPDXID"]: one for one in document["packages"] + document["files"]}
    assert len(ids) == len(document["packages"]) + len(document["files"])
    owners = {ids[r["relatedSpdxElement"]]["fileName"]: ids[r["spdxElementId"]]
              for r in document["relationships"] if r["relationshipType"] == "CONTAINS"}
    assert set(owners) == set(there)
    for name, package in owners.items():
        assert (package["name"] == "linchpin") == (".so" not in name), name
    for package in document["packages"]:
        if package["name"] == "linchpin":
            continue
        held = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package["name"]],
                              capture_output=True, text=True, check=True).stdout
        assert package["versionInfo"] == held
    assert {"libc6", "libssl3", "libgrpc++1.51", "libcurl4"} <= {  # Debian 13's end with t64
        package["name"].removesuffix("t64") for package in document["packages"]}


@pytest.mark.skipif(os.geteuid() != 0, reason="takes chroot")
def test_an_agent_joins_with_nothing_but_what_is_in_the_image(rootfs, tmp_path):
    """Where there are no roots of a system, which gRPC looks for."""
    deployment = Deployment(tmp_path)
    try:
        deployment.start_ca()
        (rootfs / "token").write_text(deployment.out("node", "token", "--ttl", "10m",
                                                     "--node", "inside"))
        (rootfs / "dev").mkdir()
        (rootfs / "dev/null").touch()
        agent = deployment.start("inside", [
            "chroot", rootfs, "linchpin-agent", "run", "--data-dir", "/run/agent",
            "--trust-domain", "example.org", "--ca", f"127.0.0.1:{deployment.ca_port}",
            "--ca-pin", deployment.root_pin(), "--join-token-file", "/token"])
        wait_for("it to join", lambda: "this node is" in agent.text() or not agent.alive())
        assert agent.alive(), agent.text()
    finally:
        deployment.stop()
