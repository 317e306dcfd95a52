# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Nodes and pods of a cluster, against an API server that stands in for the real one."""

import os
import pathlib
import secrets
import subprocess
import time

import pytest
from deployment import BIN, wait_for

NODE = "k8s.prod.node1"
UID = "0d9c3e5a-7b1f-4c62-9d8e-2f6a1b3c4d5e"


@pytest.fixture
def cluster(deployment, api):
    """A CA that attests nodes of the cluster `prod`."""
    deployment.start_ca("--kubernetes-cluster", "prod", *api.flags(),
                        "--kubernetes-token-file", api.token_file)
    deployment.api = api
    return deployment


def start_agent(deployment, token, *extra, name="node1", cluster="prod"):
    deployment.token = deployment.folder / f"psat-{name}"
    deployment.token.write_text(token)
    return deployment.start_agent(name, "--ca-pin", deployment.root_pin(), "--node-attestor",
                                  "k8s_psat", "--kubernetes-cluster", cluster,
                                  "--kubernetes-token-file", deployment.token, *extra)


def attested(deployment, name=NODE):
    return any(node["nodeId"].endswith(f"/{name}") and node["state"] == "attested"
               for node in deployment.json("node", "list").get("nodes", []))


def with_pods(api):
    return ["--kubernetes-node", "node1", *api.flags(), "--kubernetes-api-token-file",
            api.token_file]


def test_a_node_attests_by_its_clusters_word(cluster, api):
    start_agent(cluster, api.token("t1"))
    wait_for("the node", lambda: attested(cluster))
    (node,) = cluster.json("node", "list")["nodes"]
    assert node["attestedBy"] == "k8s_psat"
    assert api.count("POST", "tokenreviews") == 1


@pytest.mark.parametrize("what, wrong, said", [
    ("audience", {"audience": "somebody-else"}, "audience"),
    ("account", {"account": "web"}, "agents here run as"),
    ("namespace", {"namespace": "shop"}, "agents here run as"),
])
def test_a_token_that_is_not_for_us_is_refused_and_the_next_is_read(cluster, api, what, wrong,
                                                                   said):
    agent = start_agent(cluster, api.token("wrong", **wrong))
    wait_for(f"the refusal of another {what}", lambda: said in agent.text())
    assert not attested(cluster)
    cluster.token.write_text(api.token("right"))
    wait_for("the node by the token that replaced it", lambda: attested(cluster))


def test_a_token_of_a_deleted_pod_is_refused(cluster, api):
    token = api.token("t1")
    del api.tokens[token]
    agent = start_agent(cluster, token)
    wait_for("the refusal", lambda: "has been invalidated" in agent.text())
    assert not attested(cluster)
    assert token not in agent.text() + cluster.ca.text()


@pytest.mark.parametrize("skew", [-7200, 7200])
def test_how_long_a_token_is_good_is_the_api_servers_to_say_whatever_the_clocks(cluster, api, skew):
    """By our clock it is expired, or not yet valid; by the API server's it is good."""
    now = int(time.time()) + skew
    start_agent(cluster, api.token("t1", iat=now, nbf=now, exp=now + 600))
    wait_for("the node", lambda: attested(cluster))


def test_a_token_that_expires_in_use_is_replaced_by_the_next(cluster, api):
    first = api.token("t1")
    del api.tokens[first]
    agent = start_agent(cluster, first)
    wait_for("the API server's word", lambda: "has been invalidated" in agent.text())
    cluster.token.write_text(api.token("t2"))
    wait_for("the node", lambda: attested(cluster))
    assert api.count("POST", "tokenreviews") >= 2


def test_our_own_token_may_expire_while_it_is_used(cluster, api, container):
    """The kubelet replaces the file; what was known until then stays known."""
    agent = start_agent(cluster, api.token("t1"), *with_pods(api))
    wait_for("the node", lambda: attested(cluster))
    cluster.out("identity", "create", "--id", "spiffe://example.org/web", "--selector",
                "k8s:pod-name:web-1", "--any-node")
    wait_for("the agent's watch", lambda: api.count("GET", "watch=1.*nodeName%3Dnode1"))
    api.change(bearer="the-next-one")
    api.answering = False  # ends the watch
    with api.changed:
        api.changed.notify_all()
    wait_for("the failure", lambda: "those that were known until now" in agent.text())
    api.answering = True
    api.pod("web-1", "shop", "web", "node1", UID)
    refused = api.count("GET", "watch=1.*nodeName")
    wait_for("another refusal", lambda: api.count("GET", "watch=1.*nodeName") > refused)
    waiting = fetch_in(cluster, container, "--timeout", "60s")
    api.token_file.write_text("the-next-one")
    out, error = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, error
    assert "the-next-one" not in agent.text() + cluster.ca.text()


def test_another_cluster_is_refused(cluster, api):
    agent = start_agent(cluster, api.token("t1"), cluster="staging")
    wait_for("the refusal", lambda: "this CA attests those of prod" in agent.text())
    assert api.count("POST", "tokenreviews") == 0


def test_a_token_replayed_with_another_key_is_refused(cluster, api):
    start_agent(cluster, api.token("t1"))
    wait_for("the node", lambda: attested(cluster))
    thief = start_agent(cluster, api.token("t1"), name="thief")
    wait_for("the refusal", lambda: "with another key" in thief.text())


def test_the_api_server_may_be_away_while_a_node_joins(cluster, api):
    api.answering = False
    agent = start_agent(cluster, api.token("t1"))
    wait_for("the failure", lambda: "cannot be reached" in agent.text())
    api.answering = True
    wait_for("the node", lambda: attested(cluster))


# Pods, by control groups of their names.

def cgroup_root():
    for root in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if os.path.exists(f"{root}/cgroup.procs"):
            return pathlib.Path(root)
    return None


class Container:
    """A control group with a container's name; programs run in it."""

    def __init__(self, uid):
        root = cgroup_root()
        if os.geteuid() != 0 or root is None:
            pytest.skip("control groups can be made by root alone, with their version 2 mounted")
        # A container of our own name, so that two runs do not meet.
        self.id = secrets.token_hex(32)
        self.made = []
        path = root
        for part in ("kubepods", "besteffort", f"pod{uid}", self.id):
            path = path / part
            try:
                path.mkdir()
                self.made.append(path)
            except FileExistsError:
                pass
            except OSError as error:
                pytest.skip(f"no control group can be made here: {error}")
        self.path = path

    def popen(self, args, **options):
        return subprocess.Popen(
            ["/bin/sh", "-c", 'echo $$ > "$0"/cgroup.procs && exec "$@"', str(self.path),
             *map(str, args)], text=True, stdin=subprocess.DEVNULL, **options)

    def remove(self):
        for path in reversed(self.made):
            try:
                path.rmdir()
            except OSError:
                pass  # another run's container is in it


@pytest.fixture
def container():
    made = Container(UID)
    yield made
    made.remove()


def fetch_in(deployment, container, *args):
    return container.popen(
        [BIN / "linchpin", "--socket", f"unix://{deployment.socket('node1')}", "fetch", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_process_is_what_its_pod_is(cluster, api, container):
    api.pod("web-1", "shop", "web", "node1", UID, labels={"app": "web"})
    start_agent(cluster, api.token("t1"), *with_pods(api))
    wait_for("the node", lambda: attested(cluster))
    cluster.out("identity", "create", "--id", "spiffe://example.org/ns/shop/sa/web", "--selector",
                "k8s:ns:shop", "--selector", "k8s:sa:web", "--selector", "k8s:pod-label:app:web",
                "--any-node")
    inside = fetch_in(cluster, container)
    out, error = inside.communicate(timeout=60)
    assert inside.returncode == 0, error
    assert "spiffe://example.org/ns/shop/sa/web" in out
    # The same program outside of the pod is nobody.
    assert cluster.fetch("node1", "--timeout", "1s").returncode == 1


def test_a_pod_that_is_told_of_later_is_served_then(cluster, api, container):
    start_agent(cluster, api.token("t1"), *with_pods(api))
    wait_for("the node", lambda: attested(cluster))
    cluster.out("identity", "create", "--id", "spiffe://example.org/web", "--selector",
                "k8s:pod-name:web-1", "--any-node")
    waiting = fetch_in(cluster, container, "--timeout", "60s")
    wait_for("the agent's watch", lambda: api.count("GET", "watch=1.*nodeName%3Dnode1"))
    api.pod("web-1", "shop", "web", "node1", UID)
    out, error = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, error
    assert "spiffe://example.org/web" in out


def test_the_watch_goes_on_when_the_api_server_forgets_or_is_away(cluster, api, container):
    api.pod("web-1", "shop", "web", "node2", "another-uid")
    agent = start_agent(cluster, api.token("t1"), *with_pods(api))
    wait_for("the node", lambda: attested(cluster))
    cluster.out("identity", "create", "--id", "spiffe://example.org/web", "--selector",
                "k8s:pod-name:web-2", "--any-node")
    wait_for("the watch", lambda: api.count("GET", "watch=1.*nodeName"))
    lists = api.count("GET", "pods.limit=.*nodeName")
    api.forget()
    wait_for("another list", lambda: api.count("GET", "pods.limit=.*nodeName") == lists + 1)
    api.answering = False
    with api.changed:
        api.changed.notify_all()
    wait_for("the failure", lambda: "those that were known until now" in agent.text())
    api.pod("web-2", "shop", "web", "node1", UID)
    api.answering = True
    waiting = fetch_in(cluster, container, "--timeout", "60s")
    out, error = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, error
    # What came while it was away was told by the watch that went on, not by a list of everything.
    assert api.count("GET", "pods.limit=.*nodeName") == lists + 1


def test_an_agent_that_starts_while_the_api_server_is_away_knows_its_pods(cluster, api, container):
    api.pod("web-1", "shop", "web", "node1", UID)
    agent = start_agent(cluster, api.token("t1"), *with_pods(api))
    wait_for("the node", lambda: attested(cluster))
    cluster.out("identity", "create", "--id", "spiffe://example.org/web", "--selector",
                "k8s:pod-name:web-1", "--any-node")
    first = fetch_in(cluster, container, "--timeout", "60s")
    assert first.wait(60) == 0, first.stderr.read()
    wait_for("its pods on its disk",
             (cluster.agent_dir("node1") / "private/pods.sealed").exists)
    agent.kill()
    api.answering = False
    agent = start_agent(cluster, api.token("t1"), *with_pods(api))
    wait_for("the failure", lambda: "those that were known until now" in agent.text())
    again = fetch_in(cluster, container, "--timeout", "60s")
    out, error = again.communicate(timeout=60)
    assert again.returncode == 0, error
    assert "spiffe://example.org/web" in out
    # What the API server says is believed before it.
    api.delete("/api/v1/pods", "web-1", "shop")
    api.answering = True
    wait_for("the watch", lambda: "tells of this node's pods again" in agent.text())
    gone = fetch_in(cluster, container, "--timeout", "2s")
    assert gone.wait(60) == 1
