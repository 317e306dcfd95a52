# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The manifests fit the programs, and take no more than they say."""

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
import image  # noqa: E402


def documents():
    return [item for path in sorted(K8S.rglob("*.yaml")) if path.name != "kustomization.yaml"
            for item in yaml.safe_load_all(path.read_text())]


def of_kind(*kinds):
    return [item for item in documents() if item["kind"] in kinds]


def pods():
    return [item["spec"]["template"]["spec"] for item in of_kind("Deployment", "DaemonSet")]


def containers():
    return [one for pod in pods() for one in pod["containers"]]


def test_every_manifest_is_applied():
    named = yaml.safe_load((K8S / "kustomization.yaml").read_text())["resources"]
    there = {str(path.relative_to(K8S)) for path in K8S.rglob("*.yaml")}
    assert set(named) == {name for name in there
                          if name != "kustomization.yaml" and not name.startswith("samples/")}


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
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"


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


def test_the_image_holds_the_programs_and_all_that_they_load(tmp_path):
    out = tmp_path / "linchpin.tar"
    subprocess.run([sys.executable, "-B", K8S / "image/build.py", BIN, out], check=True,
                   capture_output=True)
    rootfs = tmp_path / "root"
    with tarfile.open(out) as archive:
        layer = max((m for m in archive.getmembers() if m.name.startswith("blobs/")),
                    key=lambda member: member.size)
        with tarfile.open(fileobj=archive.extractfile(layer)) as tar:
            tar.extractall(rootfs)
    for program in ("linchpin-ca", "linchpin-agent", "linchpin"):
        command = [f"/usr/bin/{program}", "--version"]
        if os.geteuid() == 0:  # with nothing but what is in it
            command = ["chroot", rootfs, *command]
        else:
            command[0] = f"{rootfs}{command[0]}"
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and program in done.stdout, done.stderr
