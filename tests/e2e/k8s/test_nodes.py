# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A node is lost and comes back; a static pod; a pod that names its control groups as another's."""

import json
import shutil
import sys

import pytest
from cluster import calls_api, NODE, pod, ROOT, SERVE, spiffe_id
from deployment import BIN, wait_for

sys.path.insert(0, str(ROOT / "k8s/image"))
import build  # noqa: E402
import image  # noqa: E402

pytestmark = pytest.mark.k8s


def test_a_node_is_lost_and_comes_back(cluster):
    cluster.wait_attested()
    cluster.account("api", "web")
    cluster.allow("api", "web")
    cluster.pod("api", "api", "node1", SERVE)
    cluster.pod("web", "web", "node2", calls_api(cluster.address("api")), restartPolicy="Always")
    wait_for("its calls", lambda: cluster.last("web", "counts").get("ok", 0) > 3, 120)
    cluster.script("down.sh", "node2")
    wait_for("the CA to notice", lambda: cluster.attested() == {NODE + "node1"}, 120)
    registered = {i["spiffeId"] for i in cluster.linchpin("identity", "list")["identities"]}
    assert spiffe_id("web") in registered  # the API server has it still, and it may come back
    cluster.script("again.sh", "node2")
    cluster.wait_attested()
    wait_for("its pod to call again", lambda: cluster.last("web", "counts").get("ok", 0) > 3, 180)
    assert cluster.last("web", "counts")["failed"] == 0
    cluster.delete_pod("api", "web")
    cluster.kubectl("-n", "shop", "delete", "peerpolicy", "api")


def test_a_node_that_left_the_cluster_comes_back_as_another(cluster):
    cluster.wait_attested()
    before = cluster.get("node", "node2")["metadata"]["uid"]
    cluster.script("down.sh", "node2")
    cluster.kubectl("delete", "node", "node2")
    wait_for("the CA to notice", lambda: cluster.attested() == {NODE + "node1"}, 120)
    # What was issued through it is good still, so it counts; a test of the core waits for that.
    assert NODE + "node2" in json.dumps(cluster.linchpin("node", "list"))
    cluster.script("again.sh", "node2")
    wait_for("the node's new object", lambda: "uid" in json.loads(
        cluster.kubectl("get", "node", "node2", "-o", "json", check=False) or "{}").get(
            "metadata", {}), 120)
    cluster.wait_attested()
    assert cluster.get("node", "node2")["metadata"]["uid"] != before
    cluster.rollout("daemonset/linchpin-agent")
    cluster.account("late")
    cluster.pod("late", "late", "node2", SERVE)
    wait_for("a pod there to be served", lambda: cluster.last("late", "listening"), 120)
    cluster.delete_pod("late")


@pytest.fixture(scope="module")
def shell_image(cluster):
    """The command, with a shell beside it."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("NO SHELL FOR A POD: apt-get install busybox-static")
    rootfs = cluster.folder / "shell"
    (rootfs / "bin").mkdir(parents=True)
    (rootfs / "mnt").mkdir()
    for name in ("sh", "mkdir", "cat", "mount"):
        shutil.copy(busybox, rootfs / "bin" / name)
    build.fill(rootfs, [str(BIN / "linchpin")])
    archive = cluster.folder / "shell.tar"
    image.write_image("localhost/shell:1", archive, rootfs)
    cluster.import_image(archive)


LIE = """
set -e
mount -t cgroup2 none /mnt
while IFS= read -r line; do
  case $line in 0::*) own=${line#0::} ;; esac
done </proc/self/cgroup
mkdir -p "/mnt$own/pod$1/$2"
echo 0 >"/mnt$own/pod$1/$2/cgroup.procs"
cat /proc/self/cgroup
linchpin --socket unix:///run/linchpin/agent.sock fetch --timeout 5s || echo got nothing
"""


def test_a_pod_that_lies_about_its_control_groups_is_what_it_is(cluster, shell_image):
    """As much as a container can do that is allowed everything: names below its own groups."""
    cluster.wait_attested()
    cluster.account("api")
    cluster.pod("api", "api", "node1", SERVE)
    cluster.address("api")
    victim = cluster.get("-n", "shop", "pod", "api")
    uid = victim["metadata"]["uid"]
    container = victim["status"]["containerStatuses"][0]["containerID"].split("//")[1]
    cluster.kubectl("create", "namespace", "liars")
    cluster.account("liar", namespace="liars")
    made = pod("liar", "liar", "node1", ["sh", "-c", LIE, "lie", uid, container],
               namespace="liars")
    made["spec"]["containers"][0].update(
        image="localhost/shell:1", securityContext={"privileged": True})
    cluster.apply(made)
    wait_for("it to end", lambda: cluster.get("-n", "liars", "pod", "liar")["status"]["phase"]
             in ("Succeeded", "Failed"), 120)
    said = cluster.logs("liar", "liars")
    assert f"/pod{uid}/{container}" in said, said  # the kernel repeats the lie
    assert "got nothing" in said and "BEGIN CERTIFICATE" not in said, said
    assert spiffe_id("api") not in said and "k8s:sa:api" not in said, said
    assert "k8s:sa:liar" in said, said
    cluster.delete_pod("api")
    cluster.kubectl("delete", "namespace", "liars", "--wait=false")


STATIC = """
apiVersion: v1
kind: Pod
metadata: {name: static, namespace: kube-system, labels: {app: static}}
spec:
  containers:
  - name: main
    image: localhost/linchpin-demo:1
    command: [linchpin, --socket, "unix:///run/linchpin/agent.sock", fetch, --timeout, 100s]
    volumeMounts: [{name: socket, mountPath: /run/linchpin, readOnly: true}]
  volumes: [{name: socket, hostPath: {path: /run/linchpin}}]
"""


def test_a_static_pod_is_known_by_its_mirror(cluster):
    cluster.wait_attested()
    cluster.linchpin("identity", "create", "--id", "spiffe://example.org/static", "--selector",
                     "k8s:ns:kube-system", "--selector", "k8s:pod-label:app:static", "--node",
                     "k8s.prod.node1")
    folder = cluster.folder / "cluster/nodes/node1/static"
    (folder / "pod.yaml").write_text(STATIC)
    try:
        wait_for("its certificate", lambda: "spiffe://example.org/static" in cluster.logs(
            "static-node1", "kube-system"), 120)
        held = json.dumps(cluster.linchpin("identity", "list"))
        assert "/ns/kube-system/" not in held  # its mirror gives nobody an identity by itself
    finally:
        (folder / "pod.yaml").unlink()
