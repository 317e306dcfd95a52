# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Everything that expires is renewed by itself: the CA's own certificate, nodes', workloads'."""

import collections
import json

from deployment import TRUST_DOMAIN, wait_for
from test_crash import ME, served


def issued(deployment):
    """How many certificates the log has, by SPIFFE ID."""
    lines = deployment.out("log", "tail", "--issued", "-o", "json").splitlines()
    return collections.Counter(json.loads(line)["spiffeId"] for line in lines)


def test_ca_node_and_workload_renew_without_a_restart(deployment):
    config = deployment.folder / "ca.yaml"
    config.write_text("authority:\n  node_ttl: 12s\n  leaf_ttl: 12s\n  backdate: 0s\n")
    deployment.start_ca("--config", config)
    agent = deployment.join("a")
    deployment.identity("/web", ME)
    wait_for("the certificate", lambda: served(deployment, "a"))
    own = (f"spiffe://{TRUST_DOMAIN}/linchpin/ca", deployment.node_id("a"),
           f"spiffe://{TRUST_DOMAIN}/web")
    wait_for("three certificates of each",
             lambda: all(issued(deployment)[name] >= 3 for name in own), deadline=120)
    assert agent.alive() and deployment.ca.alive()
    assert served(deployment, "a")
    deployment.join("b")  # a newcomer is shown a certificate that is valid now
    wait_for("both nodes", lambda: "2 of 2" in deployment.run("coverage", check=False).stdout)
