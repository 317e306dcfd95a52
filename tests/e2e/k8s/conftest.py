# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""One cluster for all of its tests: starting it takes longer than each of them."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cluster as k8s  # noqa: E402


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if os.geteuid() != 0 or not (k8s.BUILT / "bin/kubeall.stamp").exists():
        pytest.skip("NO CLUSTER: it takes root, and Kubernetes built by Go (./dev k8s test does)")
    folder = tmp_path_factory.mktemp("cluster")
    k8s.build_images(folder / "images")
    made = k8s.Cluster(folder)
    try:
        made.begin()
        yield made
    finally:
        made.script("down.sh", check=False)


@pytest.fixture(scope="module")
def traffic(cluster):
    made = k8s.Traffic(cluster)
    yield made
    made.end()
