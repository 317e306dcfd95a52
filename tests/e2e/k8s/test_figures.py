# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Figures, printed: how soon a pod is served, what an agent takes, what the API server is asked."""

import datetime
import json
import os
import re

import pytest
from cluster import pod, SERVE
from deployment import wait_for

pytestmark = pytest.mark.k8s
PODS = int(os.environ.get("LINCHPIN_K8S_PODS", "40"))


def time_of(text):
    """With the nanoseconds that the runtime writes."""
    whole, _, rest = text.removesuffix("Z").partition(".")
    begun = datetime.datetime.fromisoformat(whole + "+00:00")
    return begun.timestamp() + float(f"0.{rest or 0}")


def program_start(cluster, name):
    """When the pod's process began, by the kernel (to 10 ms)."""
    uid = cluster.get("-n", "shop", "pod", name)["metadata"]["uid"]
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/uptime", encoding="utf-8") as file:
        booted = datetime.datetime.now().timestamp() - float(file.read().split()[0])
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cgroup", encoding="utf-8") as file:
                if f"pod{uid}" not in file.read():
                    continue
            with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                name_of, rest = file.read().rsplit(")", 1)
            if "linchpin-demo" in name_of:
                return booted + int(rest.split()[19]) / ticks
        except OSError:
            continue
    raise AssertionError(f"no process of {name}")


def first_context(cluster, name):
    text = cluster.kubectl("-n", "shop", "logs", name, "--timestamps")
    line = next(line for line in text.splitlines() if '"event":"identity"' in line)
    return time_of(line.split(" ", 1)[0])


def time_first_contexts(cluster, prefix, among):
    waited = []
    for number in range(7):
        name = f"{prefix}-{number}"
        cluster.account(name)
        cluster.pod(name, name, "node2", SERVE)
        wait_for("it to serve", lambda: cluster.last(name, "listening"), 120)  # noqa: B023
        waited.append(first_context(cluster, name) - program_start(cluster, name))
        cluster.delete_pod(name)
    waited.sort()
    print(f"\n  a pod's process runs -> its first context{among}: "
          f"median {waited[3] * 1000:.0f} ms, {waited[0] * 1000:.0f} to "
          f"{waited[-1] * 1000:.0f} ms, {len(waited)} pods, each of a service account of its own")


def test_how_long_a_pod_waits_for_its_first_context(cluster):
    cluster.wait_attested()
    time_first_contexts(cluster, "timed", "")


def resident(cluster, node):
    """KiB of the agent of a node."""
    for entry in cluster.on(node, "pgrep", "-x", "linchpin-agent").split():
        status = cluster.on(node, "cat", f"/proc/{entry}/status")
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))
    raise AssertionError("no agent")


def revision(cluster):
    """Of the whole cluster: each lease that a node renews is one more."""
    told = cluster.kubectl("get", "--raw", "/api/v1/namespaces/linchpin/pods?limit=1")
    return int(json.loads(told)["metadata"]["resourceVersion"])


def test_what_an_agent_takes_with_many_pods_and_what_the_api_server_is_asked_meanwhile(cluster):
    cluster.wait_attested()
    before = resident(cluster, "node2")
    cluster.account("many")
    cluster.apply(*(pod(f"many-{n}", "many", "node2", SERVE) for n in range(PODS)))

    def running():
        items = cluster.get("-n", "shop", "pods")["items"]
        return sum(i["metadata"]["name"].startswith("many-") and
                   i["status"].get("phase") == "Running" for i in items) == PODS
    wait_for(f"{PODS} pods", running, 600)
    wait_for("all of them to be served", lambda: all(
        cluster.last(f"many-{n}", "listening") for n in range(0, PODS, 10)), 120)
    print(f"\n  resident memory of an agent: {before // 1024} MiB, with {PODS} pods on it "
          f"{resident(cluster, 'node2') // 1024} MiB")
    time_first_contexts(cluster, "full", f" with {PODS} pods on its node")
    # Nothing changes from here on but by the clock.
    asked = len(cluster.audited())
    begun = revision(cluster)
    wait_for("other things to happen in the cluster",
             lambda: revision(cluster) > begun + 12, 300)
    more = cluster.audited()[asked:]
    verbs = sorted({one["verb"] for one in more})
    print(f"  calls of the API server while nothing changes: {len(more)} {verbs}")
    assert set(verbs) <= {"watch"}
    cluster.delete_pod(*(f"many-{n}" for n in range(PODS)))
