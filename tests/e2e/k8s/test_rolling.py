# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Agents and CA are rolled and killed under traffic; the API server is away; pods are moved."""

import json
import os
import signal

import pytest
from cluster import calls_api, NODE, spiffe_id
from deployment import wait_for

pytestmark = pytest.mark.k8s


def agents(cluster):
    return {node: cluster.agent_pod(node) for node in ("node1", "node2")}


def wait_in_force(cluster):
    """Every consumer says again what it enforces: each has a stream to the agent of now."""
    def complete():
        told = cluster.linchpin("coverage", check=False)
        return told and not told.get("missing") and told
    return wait_for("coverage to be complete", complete, 120)


def starts_a_pod(cluster, name, address):
    cluster.account(name)
    cluster.allow("api", "web", name)
    cluster.pod(name, name, "node2", calls_api(address, "--connections", "3"))
    wait_for(f"{name} to be served", lambda: cluster.last(name, "counts").get("ok") == 3, 120)
    cluster.delete_pod(name)


def test_a_rolling_update_of_the_agents_leaves_nobody_without_context_or_stream(cluster, traffic):
    before = agents(cluster)
    lost = [len([e for e in cluster.events(name) if e["event"] == "agent_lost"])
            for name in ("web", "api")]
    cluster.kubectl("-n", "linchpin", "rollout", "restart", "daemonset/linchpin-agent")
    cluster.rollout("daemonset/linchpin-agent")
    after = agents(cluster)
    assert not set(before.values()) & set(after.values())
    assert traffic.goes_on() == 0
    # Each stream broke, and has a successor, by which a change of now comes.
    for name, count in zip(("web", "api"), lost):
        events = [e for e in cluster.events(name) if e["event"] == "agent_lost"]
        assert len(events) > count, name
    starts_a_pod(cluster, "late", traffic.address)
    cluster.kubectl("-n", "shop", "delete", "peerpolicy", "api")
    wait_for("a deleted policy to reach the streams of now",
             lambda: traffic.counts()["failed"] > 0, 60)
    cluster.allow("api", "web")
    failed = wait_for("calls to be let in again", lambda: traffic.counts())["failed"]
    assert traffic.goes_on() >= failed
    traffic.end()
    traffic.__init__(cluster)


def kill_in(cluster, node, program):
    """The program's process on a node, with no warning."""
    first = int((cluster.folder / f"cluster/nodes/{node}/pid").read_text())
    namespace = os.readlink(f"/proc/{first}/ns/pid")
    killed = 0
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if words[0] == program.encode() and namespace in (
                    os.readlink(f"/proc/{entry}/ns/pid"), parent_namespace(entry, first)):
                os.kill(int(entry), signal.SIGKILL)
                killed += 1
        except OSError:
            continue
    return killed


def parent_namespace(pid, first):
    """The node's own name space where the process descends from the node's first one."""
    while int(pid) > 1:
        if int(pid) == first:
            return os.readlink(f"/proc/{first}/ns/pid")
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            pid = file.read().rsplit(")", 1)[1].split()[1]
    return None


def evict_the_ca(cluster):
    """As what drains its node does: its budget lets it go."""
    def pods():
        items = cluster.get("-n", "linchpin", "pods", "-l", "app=linchpin-ca")["items"]
        return {i["metadata"]["name"] for i in items for c in i["status"].get("conditions", [])
                if c["type"] == "Ready" and c["status"] == "True"}
    (before,) = pods()
    budget = cluster.get("-n", "linchpin", "pdb", "linchpin-ca")["status"]
    assert budget["disruptionsAllowed"] == 1
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {"name": before, "namespace": "linchpin"}}
    cluster.script("in.sh", "kubectl", "create", "--raw",
                   f"/api/v1/namespaces/linchpin/pods/{before}/eviction", "-f", "-",
                   text=json.dumps(eviction))
    wait_for("another", lambda: pods() - {before}, 120)


def test_agents_and_ca_are_killed_under_traffic_and_nobody_is_refused(cluster, traffic):
    for node in ("node1", "node2"):
        assert kill_in(cluster, node, "linchpin-agent") == 1
    assert traffic.goes_on() == 0
    cluster.wait_attested()
    assert kill_in(cluster, "node1", "linchpin-ca") == 1
    assert traffic.goes_on() == 0
    cluster.wait_attested()
    evict_the_ca(cluster)
    cluster.wait_attested()
    assert traffic.goes_on() == 0
    starts_a_pod(cluster, "after", traffic.address)


def test_a_pod_is_moved_and_its_identity_moves_with_it(cluster, traffic):
    def nodes():
        return [n for i in cluster.linchpin("identity", "list")["identities"]
                if i["spiffeId"] == spiffe_id("mover") for n in i["nodeIds"]]
    cluster.account("mover")
    cluster.allow("api", "web", "mover")
    for node in ("node1", "node2"):
        cluster.pod("mover", "mover", node, calls_api(traffic.address))
        wait_for("its calls", lambda: cluster.last("mover", "counts").get("ok", 0) > 3, 120)
        wait_for("the one node that may issue it", lambda: nodes() == [f"{NODE}{node}"])
        cluster.delete_pod("mover")
    wait_for("nobody to have it", lambda: not nodes())


def test_the_api_server_is_away_and_what_runs_goes_on(cluster, traffic):
    pid = int((cluster.folder / "cluster/nodes/node1/pid-kube-apiserver").read_text())

    def tell(name):
        cluster.script("in.sh", "kill", f"-{name}", str(pid))
    status = cluster.get("-n", "shop", "pod", "web")["status"]
    container = status["containerStatuses"][0]["containerID"].split("//")[1]
    agent = cluster.on("node2", "pgrep", "-x", "linchpin-agent").split()
    tell("STOP")
    try:
        # The kubelet's own file: kubectl would ask the API server.
        logs = cluster.script("in.sh", "sh", "-c",
                              "cat /var/log/pods/shop_api_*/main/*.log | wc -l").stdout
        wait_for("the traffic to be seen to go on", lambda: int(cluster.script(
            "in.sh", "sh", "-c", "cat /var/log/pods/shop_api_*/main/*.log | wc -l").stdout)
            > int(logs) + 5, 60)
        # An agent that starts meanwhile knows its pods as they were: a new process is served.
        assert kill_in(cluster, "node2", "linchpin-agent") == 1
        wait_for("the next agent", lambda: set(cluster.script(
            "in.sh", "pgrep", "-x", "linchpin-agent", check=False, ON="node2").stdout.split())
            - set(agent), 120)
        told = cluster.on("node2", "ctr", "-n", "k8s.io", "tasks", "exec", "--exec-id", "fetch",
                          container, "linchpin", "fetch", "--timeout", "100s")
        assert spiffe_id("web") in told
    finally:
        tell("CONT")
    assert traffic.goes_on() == 0
    cluster.wait_attested()
    starts_a_pod(cluster, "returned", traffic.address)
