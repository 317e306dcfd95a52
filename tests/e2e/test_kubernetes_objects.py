# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A cluster's objects as a source of the registry, against an API server that stands in for it."""

import signal
import time

import pytest
from deployment import wait_for

GROUP = "/apis/linchpin.dev/v1alpha1"
WEB = "spiffe://example.org/ns/shop/sa/web"
API = "spiffe://example.org/ns/shop/sa/api"


@pytest.fixture
def cluster(deployment, api):
    api.put("/api/v1/namespaces", "shop", metadata={"labels": {"linchpin.dev/mesh": "enabled"}})
    deployment.flags = ["--kubernetes-cluster", "prod", *api.flags(), "--kubernetes-token-file",
                        api.token_file, "--kubernetes-objects", "on"]
    deployment.start_ca(*deployment.flags)
    return deployment


def put_identity(api, name="default", **spec):
    api.put(f"{GROUP}/workloadidentities", name, spec=spec or {
        "namespaceSelector": {"matchLabels": {"linchpin.dev/mesh": "enabled"}}})


def put_policy(api, name="api", **spec):
    api.put(f"{GROUP}/peerpolicies", name, "shop", spec=spec or {
        "to": {"serviceAccount": "api"}, "from": [{"serviceAccount": "web"}]})


def identities(deployment):
    return sorted((one["spiffeId"], one["nodeIds"][0].rsplit("/", 1)[1])
                  for one in deployment.json("identity", "list").get("identities", []))


def rules(deployment):
    return [(rule["from"], rule["to"])
            for rule in deployment.json("policy", "list").get("rules", [])]


def ready(api, kind, name, namespace=""):
    """(status, message) of the object's condition."""
    item = api.get(f"{GROUP}/{kind}", name, namespace)
    conditions = (item or {}).get("status", {}).get("conditions", [])
    return next(((c["status"], c["message"]) for c in conditions if c["type"] == "Ready"), None)


def test_pods_get_identities_where_they_run_and_lose_them_when_they_go(cluster, api):
    put_identity(api)
    api.pod("web-1", "shop", "web", "node1", "u1")
    api.pod("web-2", "shop", "web", "node2", "u2")
    api.pod("db-1", "other", "db", "node1", "u3")
    wait_for("the identities", lambda: identities(cluster) == [(WEB, "k8s.prod.node1"),
                                                               (WEB, "k8s.prod.node2")])
    wait_for("the status", lambda: ready(api, "workloadidentities", "default") == ("True", ""))
    api.delete("/api/v1/pods", "web-2", "shop")
    wait_for("the one that is left", lambda: identities(cluster) == [(WEB, "k8s.prod.node1")])


def test_pods_of_labelled_namespaces_have_identities_without_any_object(cluster, api):
    api.put("/api/v1/namespaces", "other")
    api.pod("web-1", "shop", "web", "node1", "u1")
    api.pod("db-1", "other", "db", "node1", "u2")
    wait_for("the identity", lambda: identities(cluster) == [(WEB, "k8s.prod.node1")])
    put_identity(api, spiffeIDTemplate="spiffe://{trustdomain}/{serviceaccount}")  # takes its place
    wait_for("those of the object", lambda: identities(cluster) == [
        ("spiffe://example.org/db", "k8s.prod.node1"),
        ("spiffe://example.org/web", "k8s.prod.node1")])
    api.delete(f"{GROUP}/workloadidentities", "default")
    wait_for("the one without it", lambda: identities(cluster) == [(WEB, "k8s.prod.node1")])


@pytest.mark.parametrize("setting, expected", [
    ("off", []), ("team=a", [("spiffe://example.org/ns/other/sa/db", "k8s.prod.node1")])])
def test_the_default_identity_is_a_setting(deployment, api, setting, expected):
    api.put("/api/v1/namespaces", "shop", metadata={"labels": {"linchpin.dev/mesh": "enabled"}})
    api.put("/api/v1/namespaces", "other", metadata={"labels": {"team": "a"}})
    api.pod("web-1", "shop", "web", "node1", "u1")
    api.pod("db-1", "other", "db", "node1", "u2")
    deployment.start_ca("--kubernetes-cluster", "prod", *api.flags(), "--kubernetes-token-file",
                        api.token_file, "--kubernetes-objects", "on",
                        "--kubernetes-default-identity", setting)
    put_policy(api)  # what all were compared with
    wait_for("the rule", lambda: rules(deployment) == [(WEB, API)])
    wait_for("the identities", lambda: identities(deployment) == expected)


def test_a_policy_is_in_force_while_its_object_is_there(cluster, api):
    put_policy(api)
    wait_for("the rule", lambda: rules(cluster) == [(WEB, API)])
    wait_for("the status", lambda: ready(api, "peerpolicies", "api", "shop") == ("True", ""))
    refused = cluster.run("policy", "delete", "--from", WEB, "--to", API, check=False)
    assert refused.returncode == 1 and "PeerPolicy/shop/api" in refused.stderr
    started = time.monotonic()
    api.delete(f"{GROUP}/peerpolicies", "api", "shop")
    wait_for("its end", lambda: rules(cluster) == [], deadline=10)
    print(f"a policy deleted is out of the registry after {time.monotonic() - started:.3f} s")


def test_an_object_that_says_nonsense_is_told_so_and_harms_no_other(cluster, api):
    put_identity(api)
    put_identity(api, "bad", spiffeIDTemplate="spiffe://{trustdomain}/linchpin/ca")
    put_policy(api, "bad", to={"serviceAccount": "api"}, **{"from": [{"spiffeID": "http://x"}]})
    api.pod("web-1", "shop", "web", "node1", "u1")
    wait_for("the identity", lambda: identities(cluster) == [(WEB, "k8s.prod.node1")])
    wait_for("the refusal of the identity", lambda: (
        ready(api, "workloadidentities", "bad") or ("", ""))[0] == "False")
    assert "below /linchpin/" in ready(api, "workloadidentities", "bad")[1]
    wait_for("the refusal of the policy", lambda: (
        ready(api, "peerpolicies", "bad", "shop") or ("", ""))[0] == "False")
    assert "no SPIFFE ID" in ready(api, "peerpolicies", "bad", "shop")[1]
    put_policy(api, "bad")
    wait_for("its mending", lambda: ready(api, "peerpolicies", "bad", "shop") == ("True", ""))


def test_what_changed_while_the_ca_was_down_is_so_when_it_is_back(cluster, api):
    put_identity(api)
    put_policy(api)
    api.pod("web-1", "shop", "web", "node1", "u1")
    wait_for("the identity", lambda: identities(cluster) == [(WEB, "k8s.prod.node1")])
    cluster.identity("/of-an-operator", "unix:uid:4711")
    cluster.ca.kill()
    api.delete("/api/v1/pods", "web-1", "shop")
    api.delete(f"{GROUP}/peerpolicies", "api", "shop")
    api.pod("api-1", "shop", "api", "node2", "u2")
    cluster.start_ca(*cluster.flags)
    wait_for("what is so now", lambda: [
        one["spiffeId"] for one in cluster.json("identity", "list").get("identities", [])] ==
        ["spiffe://example.org/of-an-operator", API])
    assert rules(cluster) == []


def test_nodes_that_the_api_server_does_not_show_hold_nothing_up(cluster, api):
    """An account that may not look at nodes, of manifests of before."""
    cluster.ca.kill()
    api.forbidden = "/api/v1/nodes"
    api.pod("web-1", "shop", "web", "node1", "u1")
    cluster.start_ca(*cluster.flags)
    wait_for("the identity", lambda: identities(cluster) == [(WEB, "k8s.prod.node1")])
    assert api.count("GET", "/api/v1/nodes") >= 1


def test_the_ca_writes_the_map_that_agents_wait_for(cluster, api):
    wait_for("the map", lambda: api.get("/api/v1/configmaps", "linchpin-trust", "linchpin"))
    data = api.get("/api/v1/configmaps", "linchpin-trust", "linchpin")["data"]
    assert data["ca-pin"] == cluster.root_pin()
    assert data["trust-domain"] == "example.org"


def test_while_nothing_changes_the_api_server_is_asked_nothing(cluster, api):
    put_identity(api)
    api.pod("web-1", "shop", "web", "node1", "u1")
    wait_for("the status", lambda: ready(api, "workloadidentities", "default") == ("True", ""))
    # Its own words come back on the watch, and are no change.
    wait_for("the watches", lambda: api.count("GET", "watch=1") >= 6)
    api.put("/api/v1/namespaces", "unlabelled")
    api.pod("db-1", "unlabelled", "db", "node1", "u9")
    asked = len(api.requests)
    api.pod("web-2", "shop", "web", "node9", "u2")  # goes the same way as what would be asked
    wait_for("the second", lambda: (WEB, "k8s.prod.node9") in identities(cluster))
    wait_for("its status", lambda: api.get(
        f"{GROUP}/workloadidentities", "default")["status"]["registrations"] == 2)
    assert len(api.requests) == asked + 1  # that status


def test_an_api_server_that_takes_no_writes_delays_neither_policy_nor_the_cas_end(cluster, api):
    """Only what people read of an object is late."""
    for i in range(20):
        put_policy(api, f"p{i}", to={"serviceAccount": f"s{i}"},
                   **{"from": [{"serviceAccount": "web"}]})
    wait_for("the rules", lambda: len(rules(cluster)) == 20)
    api.change(slow="/status")
    put_policy(api)
    wait_for("the rule", lambda: (WEB, API) in rules(cluster))
    wait_for("a status that hangs", lambda: api.count("PATCH", "peerpolicies/api/status"))
    for i in range(20):
        api.delete(f"{GROUP}/peerpolicies", f"p{i}", "shop")
    wait_for("their end", lambda: rules(cluster) == [(WEB, API)], deadline=20)
    assert ready(api, "peerpolicies", "api", "shop") is None
    assert cluster.ca.kill(signal.SIGTERM) == 0  # within the deadline
    assert "stopping" in cluster.ca.text()
    api.change(slow=None)


def resident_mib(process):
    with open(f"/proc/{process.popen.pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def test_ten_thousand_pods_take_a_bounded_memory(cluster, api):
    """Whatever else is written into them: 40 MB of annotations."""
    cluster.ca.kill()
    for i in range(10_000):
        api.pod(f"p{i}", "shop", f"s{i % 50}", f"node{i % 4}", f"u{i}")
    for pod in api.objects["/api/v1/pods"].values():
        pod["metadata"]["annotations"] = {"a": "x" * 4000}
        pod["spec"]["containers"][0]["env"] = [{"name": "A", "value": "y" * 1000}]
    api.forget()
    cluster.start_ca(*cluster.flags)
    before = resident_mib(cluster.ca)
    wait_for("the identities", lambda: len(identities(cluster)) == 100, deadline=180)
    after = resident_mib(cluster.ca)
    print(f"the CA with 10,000 pods on its watch: {before:.0f} MiB before, {after:.0f} MiB with")
    assert after < 128


def test_a_thousand_pods_come_and_go(cluster, api):
    put_identity(api)
    for i in range(1000):
        api.pod(f"p{i}", "shop", f"s{i % 100}", f"node{i % 10}", f"u{i}")
    wait_for("all of them", lambda: len(identities(cluster)) == 100)
    for i in range(1000):
        api.delete("/api/v1/pods", f"p{i}", "shop")
    wait_for("none", lambda: identities(cluster) == [])
