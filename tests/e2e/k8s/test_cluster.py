# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The manifests on a real cluster of two nodes: nodes, identities, calls, policy, schemas."""

import pytest
from cluster import group_of, NODE, SERVE, spiffe_id, Stopwatch
from deployment import wait_for

pytestmark = pytest.mark.k8s


def calls(cluster, name, account, node, address, *more):
    cluster.pod(name, account, node, ["linchpin-demo-service", "--call", f"{address}:8443",
                                      "--expect", spiffe_id("api"), *more])


@pytest.fixture(scope="module")
def api(cluster):
    """`api` on node1, which `web` may call; its address."""
    cluster.wait_attested()
    cluster.account("api", "web", "other")
    cluster.allow("api", "web")
    cluster.pod("api", "api", "node1", SERVE)
    address = cluster.address("api")
    yield address
    cluster.delete_pod("api")
    cluster.kubectl("-n", "shop", "delete", "peerpolicy", "api", "--ignore-not-found")


def test_both_nodes_attest_by_token(cluster):
    cluster.wait_attested()
    cluster.rollout("daemonset/linchpin-agent")


def test_pods_with_different_accounts_talk_across_nodes_and_a_third_is_refused(cluster, api):
    calls(cluster, "web", "web", "node2", api, "--connections", "20")
    calls(cluster, "other", "other", "node2", api, "--connections", "3")
    wait_for("the calls", lambda: cluster.last("web", "counts").get("ok") == 20, 120)
    wait_for("the refusals", lambda: cluster.last("other", "counts").get("failed") == 3, 120)
    assert cluster.last("web", "counts")["failed"] == 0
    assert cluster.last("web", "handshake")["peer_id"] == spiffe_id("api")
    assert cluster.last("other", "counts")["ok"] == 0
    seen = wait_for("the server's word", lambda: [
        e for e in cluster.events("api") if e["event"] == "handshake" and e["ok"]])
    assert {e["peer_id"] for e in seen} == {spiffe_id("web")}
    assert {e["group"] for e in seen} == {group_of(cluster.folder / "images")}
    print(f"\n  between two pods: {seen[0]['group']}")
    cluster.delete_pod("web", "other")


def test_a_node_is_given_the_identities_of_its_own_pods_alone(cluster, api):
    calls(cluster, "web", "web", "node2", api, "--connections", "0")
    wait_for("its calls", lambda: cluster.last("web", "counts").get("ok", 0) > 3, 120)
    held = cluster.linchpin("identity", "list")["identities"]
    nodes = {one["spiffeId"]: one["nodeIds"] for one in held}
    assert nodes[spiffe_id("web")] == [NODE + "node2"]
    assert nodes[spiffe_id("api")] == [NODE + "node1"]
    cluster.delete_pod("web")
    wait_for("its registration to go", lambda: spiffe_id("web") not in {
        i["spiffeId"] for i in cluster.linchpin("identity", "list")["identities"]})


def test_a_policy_that_is_deleted_is_not_in_force(cluster, api):
    calls(cluster, "web", "web", "node2", api, "--connections", "0", "--interval-ms", "10")
    wait_for("its calls", lambda: cluster.last("web", "counts").get("ok", 0) > 3, 120)
    cluster.kubectl("-n", "shop", "delete", "peerpolicy", "api")
    watch = Stopwatch()
    wait_for("the first refusal", lambda: cluster.last("web", "counts").get("failed", 0) > 0, 60)
    print(f"\n  a PeerPolicy is deleted -> a call is refused, as the logs show it: "
          f"{watch.seconds():.2f} s")
    cluster.delete_pod("web")
    cluster.allow("api", "web")


def test_an_object_says_how_it_stands_with_it(cluster, api):
    cluster.default_identity()

    def ready():
        status = cluster.get("workloadidentity", "default").get("status", {})
        return {c["status"] for c in status.get("conditions", [])} == {"True"} and status
    assert wait_for("its status", ready)["registrations"] >= 1
    shown = cluster.kubectl("get", "workloadidentities,peerpolicies", "-A")
    assert "{serviceaccount}" in shown and "enforce" in shown
    cluster.kubectl("delete", "workloadidentity", "default")
    wait_for("the one without an object to be there again", lambda: spiffe_id("api") in {
        i["spiffeId"] for i in cluster.linchpin("identity", "list")["identities"]})
