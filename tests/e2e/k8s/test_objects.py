# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Objects on a real API server: nonsense, claims, events, what pods of the mesh may be."""

import json

import pytest
from cluster import ours, pod, SERVE
from deployment import wait_for

pytestmark = pytest.mark.k8s


@pytest.fixture(scope="module", autouse=True)
def api(cluster):
    cluster.wait_attested()
    cluster.account("api")
    cluster.pod("api", "api", "node1", SERVE)
    cluster.address("api")
    yield
    cluster.delete_pod("api")


BAD = [
    ("WorkloadIdentity", {"spiffeIDTemplate": "spiffe://{trustdomain}/linchpin/ca"}, "reserved"),
    ("WorkloadIdentity", {"spiffeIDTemplate": "https://example.org/web"},
     "it begins with spiffe://{trustdomain}/"),
    ("WorkloadIdentity", {"spiffeIDTemplate": "spiffe://{trustdomain}/ns/{pod}"},
     "letters, digits, dots"),
    ("WorkloadIdentity", {"ttl": "soon"}, "spec.ttl"),
    ("WorkloadIdentity", {"podSelector": {"matchLabels": {"app": 1}}}, "must be of type string"),
    ("WorkloadIdentity", {"podSelector": {"matchExpressions": [
        {"key": "app", "operator": "DoesNotExist"}]}}, "Unsupported value"),
    ("PeerPolicy", {"to": {}, "from": [{"serviceAccount": "web"}]}, "spec.to.serviceAccount"),
    ("PeerPolicy", {"to": {"serviceAccount": "api"}, "from": []}, "spec.from"),
    ("PeerPolicy", {"to": {"serviceAccount": "api"}, "from": [{"namespace": "x"}]},
     "name either a serviceAccount"),
    ("PeerPolicy", {"to": {"serviceAccount": "api"}, "mode": "maybe",
                    "from": [{"serviceAccount": "web"}]}, "Unsupported value"),
    ("PinSet", {}, "document"),
]


@pytest.mark.parametrize("validate", ["strict", "ignore"])
def test_the_schemas_refuse_nonsense_readably(cluster, validate):
    for kind, spec, reason in BAD:
        namespace = "shop" if kind == "PeerPolicy" else None
        done = cluster.apply(ours(kind, "bad", spec, namespace), check=False,
                             args=[f"--validate={validate}"])
        assert done.returncode != 0 and reason in done.stderr, (kind, spec, done.stderr)


def refused(cluster, kind, name, namespace="default"):
    """Its message, as soon as the object says that it is refused."""
    status, message = cluster.standing(kind, name, namespace)
    return status == "False" and message


def test_a_misspelt_selector_selects_nobody_and_the_object_says_why(cluster):
    """The API server removes no field here, also where nobody asks it to validate."""
    for name, spec, word in [
            ("typo", {"podSelecter": {"matchLabels": {"app": "payments"}}}, "spec.podSelecter"),
            ("nested", {"podSelector": {"matchExpressions": [
                {"key": "app", "operator": "In", "value": ["payments"]}]}}, "\"value\"")]:
        spec = {"spiffeIDTemplate": "spiffe://{trustdomain}/payments", **spec}
        cluster.apply(ours("WorkloadIdentity", name, spec), args=["--validate=ignore"])
        assert word in wait_for("its condition",
                                lambda: refused(cluster, "workloadidentity", name))
        events = wait_for("the event", lambda: cluster.get(
            "events", "--field-selector", f"involvedObject.name={name}")["items"])
        assert events[0]["type"] == "Warning" and word in events[0]["message"]
        cluster.kubectl("delete", "workloadidentity", name)
    assert "/payments" not in json.dumps(cluster.linchpin("identity", "list"))


def test_expressions_select_pods_by_their_labels_as_they_are(cluster):
    """A pod of each label: the node is told of the label that its pod has."""
    cluster.apply(ours("WorkloadIdentity", "tiers", {
        "spiffeIDTemplate": "spiffe://{trustdomain}/tiers",
        "namespaceSelector": {"matchExpressions": [
            {"key": "linchpin.dev/mesh", "operator": "In", "values": ["enabled"]}]},
        "podSelector": {"matchExpressions": [
            {"key": "app", "operator": "In", "values": ["front", "back"]}]}}))
    cluster.account("tiered")
    for name in ("front", "back", "side"):
        cluster.pod(name, "tiered", "node2", ["linchpin", "fetch", "--timeout", "60s"])
    for name in ("front", "back"):
        wait_for(f"{name}'s certificate",
                 lambda: "spiffe://example.org/tiers" in cluster.logs(name), 120)  # noqa: B023
    wait_for("the third to have only its account's",
             lambda: "spiffe://example.org/ns/shop/sa/tiered" in cluster.logs("side"), 120)
    assert "/tiers" not in cluster.logs("side")
    cluster.delete_pod("front", "back", "side")
    cluster.kubectl("delete", "workloadidentity", "tiers")


def test_of_two_objects_that_claim_one_id_one_has_it_and_the_other_is_told(cluster):
    claim = {"spiffeIDTemplate": "spiffe://{trustdomain}/the-api",
             "namespaceSelector": {"matchLabels": {"linchpin.dev/mesh": "enabled"}},
             "podSelector": {"matchLabels": {"app": "api"}}}
    for name in ("first", "second"):
        cluster.apply(ours("WorkloadIdentity", name, claim))

    def settled():
        found = {name: cluster.standing("workloadidentity", name) for name in ("first", "second")}
        return sorted(status for status, _ in found.values()) == ["False", "True"] and found
    found = wait_for("one to be refused", settled)
    has, lacks = sorted(found, key=lambda name: found[name][0], reverse=True)
    assert "/the-api" in found[lacks][1]
    assert len([i for i in cluster.linchpin("identity", "list")["identities"]
                if i["spiffeId"].endswith("/the-api")]) == 1
    cluster.kubectl("delete", "workloadidentity", has)
    wait_for("the other to have it",
             lambda: cluster.standing("workloadidentity", lacks)[0] == "True")
    cluster.kubectl("delete", "workloadidentity", lacks)


def test_a_caller_of_another_trust_domain_is_refused_in_the_object(cluster):
    cluster.apply(ours("PeerPolicy", "foreign", {
        "to": {"serviceAccount": "api"}, "from": [{"spiffeID": "spiffe://other.org/x"}]}, "shop"))
    assert "trust domain" in wait_for("its condition", lambda: refused(
        cluster, "peerpolicy", "foreign", "shop"))
    cluster.kubectl("-n", "shop", "delete", "peerpolicy", "foreign")


def test_an_object_of_many_megabytes_stops_nobodys_watch(cluster):
    """What is kept in 1.4 MB is sent in 8.4: each '<' is escaped."""
    huge = pod("huge", "api", "node2", ["linchpin-demo-service"])
    huge["spec"]["containers"][0]["env"] = [{"name": "A", "value": "<" * 1_300_000}]
    huge["spec"]["nodeSelector"] = {"no": "such-node"}
    huge["spec"].pop("nodeName")
    cluster.script("in.sh", "kubectl", "create", "--raw", "/api/v1/namespaces/shop/pods", "-f", "-",
                   text=json.dumps(huge))
    cluster.account("after")
    cluster.pod("after", "after", "node2", SERVE)
    wait_for("a pod that came later to be served", lambda: cluster.last("after", "listening"), 120)
    cluster.delete_pod("huge", "after")


def test_pods_of_the_mesh_may_have_the_agents_socket_and_nothing_else_of_the_node(cluster):
    def attempt(change):
        wrong = pod("wrong", "api", "node1", SERVE)
        change(wrong["spec"])
        return cluster.apply(wrong, check=False, args=["--dry-run=server"])

    def mount_the_keys(spec):
        spec["volumes"][0]["hostPath"]["path"] = "/var/lib/linchpin-agent"

    def mount_writable(spec):
        spec["containers"][0]["volumeMounts"][0]["readOnly"] = False

    def be_privileged(spec):
        spec["containers"][0]["securityContext"] = {"privileged": True}

    def be_on_the_node(spec):
        spec["hostPID"] = True
    assert attempt(lambda spec: None).returncode == 0
    for change, reason in ((mount_the_keys, "only /run/linchpin"), (mount_writable, "readOnly"),
                           (be_privileged, "privileged"), (be_on_the_node, "name spaces")):
        done = attempt(change)
        assert done.returncode != 0 and reason in done.stderr, done.stderr


def test_the_api_server_refuses_our_accounts_nothing_that_they_ask(cluster):
    asked = cluster.audited()
    assert {one["user"]["username"].rsplit(":", 1)[1] for one in asked} == {
        "linchpin-ca", "linchpin-agent"}
    refused_by_rbac = [(one["user"]["username"], one["verb"], one["requestURI"])
                       for one in asked if one.get("responseStatus", {}).get("code") == 403]
    assert not refused_by_rbac
