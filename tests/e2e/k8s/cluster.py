# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A cluster of two nodes with the manifests applied, and the pods that tests make on it."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))
from deployment import BIN, wait_for  # noqa: E402

BUILT = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
BUILT = BUILT / "linchpin-k8s"
NODE = "spiffe://example.org/linchpin/node/k8s.prod."
VOLUME = "/var/lib/containerd/volume"  # the CA's, on the first node
SERVE = ["linchpin-demo-service", "--serve", "8443", "--listen", "0.0.0.0"]


def spiffe_id(account, namespace="shop"):
    return f"spiffe://example.org/ns/{namespace}/sa/{account}"


def ours(kind, name, spec, namespace=None):
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "linchpin.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def calls_api(address, *more, interval_ms=50):
    """Calls `api` again and again."""
    return ["linchpin-demo-service", "--call", f"{address}:8443", "--expect", spiffe_id("api"),
            "--interval-ms", str(interval_ms), *more]


def pod(name, account, node, command, namespace="shop", **spec):
    """One container of the demonstration's image that reaches its node's agent."""
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "serviceAccountName": account, "nodeName": node, "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "main", "image": "localhost/linchpin-demo:1", "command": command,
                "volumeMounts": [{"name": "socket", "mountPath": "/run/linchpin",
                                  "readOnly": True}]}],
            "volumes": [{"name": "socket", "hostPath": {"path": "/run/linchpin",
                                                        "type": "Directory"}}],
            **spec}}


class Cluster:
    def __init__(self, folder):
        self.folder = folder
        self.env = {**os.environ, "STATE": str(folder / "cluster"), "NODES": "node1 node2",
                    "IMAGES": str(folder / "images")}

    # The machines.
    def script(self, name, *args, text=None, check=True, **env):
        done = subprocess.run([HERE / name, *map(str, args)], env={**self.env, **env}, text=True,
                              input=text, capture_output=True, check=False, timeout=300)
        if check and done.returncode != 0:
            raise AssertionError(f"{name} {args}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done

    def on(self, node, *args, **kwargs):
        return self.script("in.sh", *args, ON=node, **kwargs).stdout

    def import_image(self, archive):
        for node in ("node1", "node2"):
            self.on(node, "ctr", "-n", "k8s.io", "images", "import", archive)

    # The cluster.
    def kubectl(self, *args, text=None, check=True):
        return self.script("in.sh", "kubectl", *args, text=text, check=check).stdout

    def get(self, *args):
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def apply(self, *objects, check=True, args=()):
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.script("in.sh", "kubectl", "apply", *args, "-f", "-", text=text, check=check)

    def account(self, *names, namespace="shop"):
        self.apply(*({"apiVersion": "v1", "kind": "ServiceAccount",
                      "metadata": {"name": name, "namespace": namespace}} for name in names))

    def pod(self, name, account, node, command, **spec):
        self.delete_pod(name)  # a pod is not changed
        self.apply(pod(name, account, node, command, **spec))

    def delete_pod(self, *names, namespace="shop"):
        self.kubectl("-n", namespace, "delete", "pod", *names, "--wait=true", "--ignore-not-found")

    def allow(self, to, *callers, mode="enforce"):
        self.apply({"apiVersion": "linchpin.dev/v1alpha1", "kind": "PeerPolicy",
                    "metadata": {"name": to, "namespace": "shop"},
                    "spec": {"to": {"serviceAccount": to}, "mode": mode,
                             "from": [{"serviceAccount": one} for one in callers]}})

    def address(self, name, namespace="shop"):
        def there():
            status = self.get("-n", namespace, "pod", name)["status"]
            return status.get("podIP") if status.get("phase") == "Running" else None
        return wait_for(f"the pod {name} to run", there, 120)

    def logs(self, name, namespace="shop"):
        return self.kubectl("-n", namespace, "logs", name, check=False)

    def events(self, name):
        """What a demonstration service has said."""
        return [json.loads(line) for line in self.logs(name).splitlines() if line.startswith("{")]

    def last(self, name, event):
        return next((e for e in reversed(self.events(name)) if e["event"] == event), {})

    # Ours.
    def default_identity(self, **spec):
        """As an object of its own, in the place of what is there without one."""
        self.apply(ours("WorkloadIdentity", "default", {
            "namespaceSelector": {"matchLabels": {"linchpin.dev/mesh": "enabled"}}, **spec}))

    def linchpin(self, *args, check=True):
        done = self.script("in.sh", "kubectl", "-n", "linchpin", "exec", "deploy/linchpin-ca", "--",
                           "linchpin", *args, "-o", "json", check=check)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def attested(self):
        nodes = self.linchpin("node", "list", check=False).get("nodes", [])
        return {node["nodeId"] for node in nodes
                if node.get("attestedBy") == "k8s_psat" and node.get("connected")}

    def wait_attested(self):
        wait_for("both nodes", lambda: self.attested() == {NODE + "node1", NODE + "node2"}, 180)

    def standing(self, kind, name, namespace="default"):
        """Status and message of an object's condition; empty before it has one."""
        told = self.kubectl("-n", namespace, "get", kind, name, "-o", "json", check=False)
        for one in json.loads(told or "{}").get("status", {}).get("conditions", []):
            return one["status"], one["message"]
        return "", ""

    def at_the_ca(self, *args, check=True):
        """The operator's command with this machine's files, as a process of the CA's pod: of
        others the kernel does not tell the CA which they are."""
        pid = self.on("node1", "pgrep", "-x", "linchpin-ca").split()[0]
        return self.script("in.sh", "nsenter", "-t", pid, "-p", BIN / "linchpin", "--admin-socket",
                           VOLUME + "/data/admin.sock", *args, check=check)

    def rules(self):
        return self.linchpin("policy", "list").get("rules", [])

    def agent_pod(self, node):
        items = self.get("-n", "linchpin", "pods", "-l", "app=linchpin-agent")["items"]
        return next(i["metadata"]["name"] for i in items if i["spec"].get("nodeName") == node
                    and "deletionTimestamp" not in i["metadata"])

    def rollout(self, what):
        self.kubectl("-n", "linchpin", "rollout", "status", what, "--timeout=180s")

    def audited(self):
        """What the CA and the agents asked of the API server until now."""
        lines = (self.folder / "cluster/audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def control_groups(self):
        return [pathlib.Path(line) for file in (self.folder / "cluster/nodes").glob("*/cgroups")
                for line in file.read_text().splitlines()]

    def describe(self):
        """For who reads a failure."""
        asked = [("get", "pods", "-A", "-o", "wide")]
        asked += [("-n", "linchpin", "logs", what, "--prefix", "--tail=40")
                  for what in ("-lapp=linchpin-ca", "-lapp=linchpin-agent")]
        return "\n".join(self.kubectl("--request-timeout=10s", *one, check=False)
                         for one in asked)

    def begin(self):
        self.script("up.sh")
        self.kubectl("apply", "-k", ROOT / "k8s")  # from nothing, in one go
        self.kubectl("create", "namespace", "shop")
        self.kubectl("label", "namespace", "shop", "linchpin.dev/mesh=enabled")


def build_images(folder):
    folder.mkdir()
    (folder / "pause.tar").write_bytes((BUILT / "images/pause.tar").read_bytes())
    made = os.environ.get("LINCHPIN_IMAGES")  # on Debian 13: `./dev debian13 image`
    if made:
        for archive in pathlib.Path(made).glob("*.*"):
            shutil.copy(archive, folder)
        return
    build = [sys.executable, "-B", ROOT / "k8s/image/build.py", BIN]
    subprocess.run([*build, folder / "linchpin.tar"], check=True)
    subprocess.run([*build, folder / "demo.tar", "localhost/linchpin-demo:1",
                    "linchpin-demo-service", "linchpin"], check=True)


def group_of(images):
    """The key agreement that two pods of these have: the hybrid one where OpenSSL is 3.5."""
    packages = json.loads((images / "demo.spdx.json").read_text())["packages"]
    (version,) = [one["versionInfo"] for one in packages if one["name"].startswith("libssl3")]
    hybrid = tuple(map(int, version.split(".")[:2])) >= (3, 5)
    return "X25519MLKEM768" if hybrid else "x25519"


def metrics_of(text):
    """Prometheus text -> the sum of each name with its labels."""
    found = {}
    for name, value in re.findall(r"^([a-z_]+(?:\{.*\})?) ([0-9.e+-]+)$", text, re.M):
        found[name] = found.get(name, 0) + float(value)
    return found


class Traffic:
    """`web` on node2 calls `api` on node1 all the while."""

    def __init__(self, cluster):
        self.cluster = cluster
        cluster.wait_attested()
        cluster.account("api", "web")
        cluster.allow("api", "web")
        cluster.pod("api", "api", "node1", SERVE)
        self.address = cluster.address("api")
        cluster.pod("web", "web", "node2", calls_api(self.address))
        wait_for("traffic", lambda: self.counts().get("ok", 0) > 20, 120)

    def counts(self):
        return self.cluster.last("web", "counts")

    def goes_on(self, deadline=180):
        """Waits for more of it; what has failed until then."""
        before = self.counts()["ok"]
        wait_for("more traffic", lambda: self.counts().get("ok", 0) > before + 40, deadline)
        return self.counts()["failed"]

    def serial(self, name):
        return self.cluster.last(name, "identity").get("serial")

    def end(self):
        self.cluster.delete_pod("api", "web")
        self.cluster.kubectl("-n", "shop", "delete", "peerpolicy", "api", "--ignore-not-found")


class Stopwatch:
    def __init__(self):
        self.begun = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.begun
