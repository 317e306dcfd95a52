# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The manifests on a real cluster of two nodes: nodes, identities, calls, policy, schemas."""

import json

import pytest
from cluster import NODE, SERVE, spiffe_id, Stopwatch
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
    def ready():
        status = cluster.get("workloadidentity", "default").get("status", {})
        return {c["status"] for c in status.get("conditions", [])} == {"True"} and status
    assert wait_for("its status", ready)["registrations"] >= 1
    shown = cluster.kubectl("get", "workloadidentities,peerpolicies", "-A")
    assert "{serviceaccount}" in shown and "enforce" in shown


BAD = [
    ("WorkloadIdentity", {"spiffeIDTemplate": "spiffe://{trustdomain}/linchpin/ca"}, "reserved"),
    ("WorkloadIdentity", {"spiffeIDTemplate": "https://example.org/web"},
     "it begins with spiffe://{trustdomain}/"),
    ("WorkloadIdentity", {"spiffeIDTemplate": "spiffe://{trustdomain}/ns/{pod}"},
     "letters, digits, dots"),
    ("WorkloadIdentity", {"ttl": "soon"}, "spec.ttl"),
    ("WorkloadIdentity", {"podSelector": {"matchLabels": {"app": 1}}}, "must be of type string"),
    ("PeerPolicy", {"to": {}, "from": [{"serviceAccount": "web"}]}, "spec.to.serviceAccount"),
    ("PeerPolicy", {"to": {"serviceAccount": "api"}, "from": []}, "spec.from"),
    ("PeerPolicy", {"to": {"serviceAccount": "api"}, "from": [{"namespace": "x"}]},
     "name either a serviceAccount"),
    ("PeerPolicy", {"to": {"serviceAccount": "api"}, "mode": "maybe",
                    "from": [{"serviceAccount": "web"}]}, "Unsupported value"),
]


@pytest.mark.parametrize("validate", ["strict", "ignore"])
def test_the_schemas_refuse_nonsense_readably(cluster, validate):
    for kind, spec, reason in BAD:
        done = cluster.apply({"apiVersion": "linchpin.dev/v1alpha1", "kind": kind,
                              "metadata": {"name": "bad", "namespace": "shop"}, "spec": spec},
                             check=False, args=[f"--validate={validate}"])
        assert done.returncode != 0 and reason in done.stderr, (kind, spec, done.stderr)


def test_a_misspelt_selector_selects_nobody_and_the_object_says_why(cluster):
    """The API server removes no field here, also where nobody asks it to validate."""
    for name, spec, word in [
            ("typo", {"podSelecter": {"matchLabels": {"app": "payments"}}}, "spec.podSelecter"),
            ("expressions", {"podSelector": {"matchExpressions": [
                {"key": "app", "operator": "In", "values": ["payments"]}]}}, "matchExpressions")]:
        cluster.apply({"apiVersion": "linchpin.dev/v1alpha1", "kind": "WorkloadIdentity",
                       "metadata": {"name": name},
                       "spec": {"spiffeIDTemplate": "spiffe://{trustdomain}/payments", **spec}},
                      args=["--validate=ignore"])

        def refused():
            conditions = cluster.get("workloadidentity", name).get("status", {}).get("conditions")
            return conditions and conditions[0]["status"] == "False" and conditions[0]["message"]
        assert word in wait_for("its condition", refused)
        cluster.kubectl("delete", "workloadidentity", name)
    text = json.dumps(cluster.linchpin("identity", "list"))
    assert "/payments" not in text


def test_of_two_objects_that_claim_one_id_one_has_it_and_the_other_is_told(cluster, api):
    claim = {"spiffeIDTemplate": "spiffe://{trustdomain}/the-api",
             "namespaceSelector": {"matchLabels": {"linchpin.dev/mesh": "enabled"}},
             "podSelector": {"matchLabels": {"app": "api"}}}
    for name in ("first", "second"):
        cluster.apply({"apiVersion": "linchpin.dev/v1alpha1", "kind": "WorkloadIdentity",
                       "metadata": {"name": name}, "spec": claim})

    def standing():
        found = {}
        for name in ("first", "second"):
            told = cluster.kubectl("get", "workloadidentity", name, "-o", "json", check=False)
            for one in json.loads(told or "{}").get("status", {}).get("conditions", []):
                found[name] = (one["status"], one["message"])
        return found

    def settled():
        found = standing()
        return sorted(status for status, _ in found.values()) == ["False", "True"] and found
    found = wait_for("one to be refused", settled)
    has, lacks = sorted(found, key=lambda name: found[name][0], reverse=True)
    assert "/the-api" in found[lacks][1]
    assert len([i for i in cluster.linchpin("identity", "list")["identities"]
                if i["spiffeId"].endswith("/the-api")]) == 1
    cluster.kubectl("delete", "workloadidentity", has)
    wait_for("the other to have it", lambda: standing().get(lacks, ("",))[0] == "True")
    cluster.kubectl("delete", "workloadidentity", lacks)
