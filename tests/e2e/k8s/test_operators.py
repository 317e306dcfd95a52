# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Operators from outside of the cluster: the way of docs/kubernetes.md, as it is written."""

import re

import pytest
from cluster import ROOT
from deployment import BIN

pytestmark = pytest.mark.k8s
FORWARDED = """forward=$!
trap 'kill $forward' EXIT
until grep -q Forwarding forward.log; do sleep 0.1; done
"""


def test_an_operator_comes_by_a_forwarded_port_with_a_certificate(cluster, tmp_path):
    cluster.wait_attested()
    text = (ROOT / "docs/kubernetes.md").read_text().split("\n## Operators\n")[1]
    commands = "".join(re.findall(r"```sh\n(.*?)```", text.split("\n## ")[0], re.S))
    assert commands.count("8444 &\n") == 1
    script = commands.replace("8444 &\n", "8444 >forward.log &\n" + FORWARDED)
    # She may change policy, and ban no node.
    script += """linchpin policy allow --from spiffe://example.org/a --to spiffe://example.org/b
linchpin policy delete --from spiffe://example.org/a --to spiffe://example.org/b
if linchpin node ban k8s.prod.node2; then exit 9; fi
unset LINCHPIN_OPERATOR_KEY LINCHPIN_OPERATOR_CERT
if linchpin node list; then exit 9; fi
"""
    done = cluster.script("in.sh", "bash", "-ec",
                          f"cd {tmp_path}; PATH={BIN}:$PATH\n{script}")
    assert "k8s.prod.node1" in done.stdout and "k8s.prod.node2" in done.stdout
    assert "alice (registrar) is renewed" in done.stdout
    assert "operator alice has role registrar; node ban needs admin" in done.stderr
    assert "operator-cert" in done.stderr
    assert "PRIVATE KEY" not in (tmp_path / "alice.pem").read_text()
    cluster.linchpin("operator", "delete", "alice")
