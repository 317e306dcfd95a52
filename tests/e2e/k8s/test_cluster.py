# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The manifests on a real cluster of two nodes."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))
from deployment import BIN, wait_for  # noqa: E402

pytestmark = pytest.mark.k8s
BUILT = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
BUILT = BUILT / "linchpin-k8s"
ADMIN = "/var/lib/linchpin-ca/data/admin.sock"
WEB = "spiffe://example.org/ns/shop/sa/web"

POD = """
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {account}, namespace: shop}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop}}
spec:
  serviceAccountName: {account}
  nodeName: {node}
  restartPolicy: Never
  containers:
  - name: main
    image: localhost/linchpin:1
    imagePullPolicy: Never
    command: [linchpin, --socket, "unix:///run/linchpin/agent.sock", fetch, --timeout, 60s]
    volumeMounts: [{{name: socket, mountPath: /run/linchpin, readOnly: true}}]
  volumes:
  - {{name: socket, hostPath: {{path: /run/linchpin, type: Directory}}}}
"""


class Cluster:
    def __init__(self, folder):
        self.env = {**os.environ, "STATE": str(folder / "cluster"), "NODES": "node1 node2",
                    "IMAGES": str(folder / "images")}

    def script(self, name, *args, text=None, check=True):
        return subprocess.run([HERE / name, *args], env=self.env, text=True, input=text,
                              capture_output=True, check=check, timeout=300)

    def kubectl(self, *args, text=None, check=True):
        return self.script("in.sh", "kubectl", *args, text=text, check=check).stdout

    def linchpin(self, *args):
        return json.loads(self.kubectl("-n", "linchpin", "exec", "deploy/linchpin-ca", "--",
                                       "linchpin", "--admin-socket", ADMIN, *args, "-o", "json"))

    def pod(self, name, account, node):
        self.kubectl("apply", "-f", "-", text=POD.format(name=name, account=account, node=node))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if os.geteuid() != 0 or not (BUILT / "bin/kubeall.stamp").exists():
        pytest.skip("NO CLUSTER: it takes root, and Kubernetes built by Go (./dev k8s test does)")
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "images").mkdir()
    (folder / "images/pause.tar").write_bytes((BUILT / "images/pause.tar").read_bytes())
    subprocess.run([sys.executable, "-B", ROOT / "k8s/image/build.py", BIN,
                    folder / "images/linchpin.tar"], check=True)
    made = Cluster(folder)
    try:
        made.script("up.sh")
        made.kubectl("apply", "-k", HERE / "overlay")
        made.kubectl("create", "namespace", "shop")
        made.kubectl("label", "namespace", "shop", "linchpin.dev/mesh=enabled")
        yield made
    finally:
        made.script("down.sh", check=False)


def test_both_nodes_attest_by_token(cluster):
    def attested():
        done = cluster.script("in.sh", "kubectl", "-n", "linchpin", "exec", "deploy/linchpin-ca",
                              "--", "linchpin", "--admin-socket", ADMIN, "node", "list", "-o",
                              "json", check=False)
        nodes = json.loads(done.stdout or "{}").get("nodes", [])
        return {node["nodeId"].rsplit("/", 1)[1] for node in nodes
                if node.get("attestedBy") == "k8s_psat" and node.get("connected")}
    wait_for("both nodes", lambda: attested() == {"k8s.prod.node1", "k8s.prod.node2"}, 120)


def test_a_pod_gets_the_identity_of_its_service_account(cluster):
    cluster.pod("web-1", "web", "node2")
    wait_for("its certificate",
             lambda: WEB in cluster.kubectl("-n", "shop", "logs", "web-1", check=False), 60)
    (one,) = [i for i in cluster.linchpin("identity", "list")["identities"]
              if i["spiffeId"] == WEB]
    assert one["nodeIds"] == ["spiffe://example.org/linchpin/node/k8s.prod.node2"]


def test_a_policy_that_is_deleted_is_not_in_force(cluster):
    sample = (ROOT / "k8s/samples/peerpolicy.yaml").read_text()
    cluster.kubectl("apply", "-f", "-", text=sample)
    wait_for("the rules", lambda: len(cluster.linchpin("policy", "list").get("rules", [])) == 2)
    cluster.kubectl("-n", "shop", "delete", "peerpolicy", "api")
    wait_for("their end", lambda: not cluster.linchpin("policy", "list").get("rules"))


def test_the_schemas_refuse_nonsense(cluster):
    bad = cluster.script("in.sh", "kubectl", "apply", "-f", "-", check=False, text=json.dumps({
        "apiVersion": "linchpin.dev/v1alpha1", "kind": "WorkloadIdentity",
        "metadata": {"name": "bad"},
        "spec": {"spiffeIDTemplate": "spiffe://{trustdomain}/linchpin/ca"}}))
    assert bad.returncode != 0 and "reserved" in bad.stderr
