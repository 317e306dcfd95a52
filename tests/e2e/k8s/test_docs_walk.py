# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The way of docs/kubernetes.md from nothing to two services, each command as it is written."""

import re

import pytest
from cluster import ROOT, Stopwatch
from deployment import wait_for

pytestmark = pytest.mark.k8s


def test_each_command_of_the_document_does_what_it_says(cluster):
    text = (ROOT / "docs/kubernetes.md").read_text()
    block = re.search(r"^Then:\n\n```sh\n(.*?)```", text, re.S | re.M)
    commands = block.group(1).splitlines()
    assert commands and all(one.startswith("kubectl ") for one in commands)
    cluster.kubectl("delete", "namespace", "shop", "--wait=true", "--timeout=120s")
    watch = Stopwatch()
    for command in commands:
        # On the first node, where kubectl is, as the cluster's administrator.
        cluster.script("in.sh", "sh", "-c", f"cd {ROOT} && {command}")
    wait_for("web to call api", lambda: '"ok":true' in cluster.kubectl(
        "-n", "shop", "logs", "deployment/web"), 120)
    print(f"\n  docs/kubernetes.md, all commands but the images: {watch.seconds():.0f} s")
    told = cluster.kubectl("-n", "shop", "logs", "deployment/web")
    assert "spiffe://example.org/ns/shop/sa/api" in told
    cluster.kubectl("-n", "shop", "delete", "deployment,service,peerpolicy", "--all")
