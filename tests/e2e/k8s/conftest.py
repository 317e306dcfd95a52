# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""One cluster for all of its tests: starting it takes longer than each of them."""

import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cluster as k8s  # noqa: E402

MADE = pytest.StashKey()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory, request):
    impossible = subprocess.run([k8s.HERE / "possible.sh"], capture_output=True, text=True,
                                check=False).stdout.strip()
    if not impossible and not (k8s.BUILT / "bin/kubeall.stamp").exists():
        impossible = "NO CLUSTER HERE: Kubernetes is not built (./dev k8s test builds it)"
    if impossible:
        pytest.skip(impossible)
    folder = tmp_path_factory.mktemp("cluster")
    k8s.build_images(folder / "images")
    made = k8s.Cluster(folder)
    request.config.stash[MADE] = made
    # It ends the cluster when we close the pipe, and when we are killed.
    with subprocess.Popen([k8s.HERE / "guard.sh"], env=made.env, stdin=subprocess.PIPE,
                          start_new_session=True) as guard:
        made.begin()
        yield made
        groups = made.control_groups()
    assert guard.returncode == 0
    assert [group for group in groups if group.exists()] == []
    assert str(folder) not in pathlib.Path("/proc/self/mounts").read_text()
    assert not (folder / "cluster").exists()


@pytest.fixture(scope="module")
def traffic(cluster):
    made = k8s.Traffic(cluster)
    yield made
    made.end()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """What the cluster looked like when a test failed."""
    report = (yield).get_result()
    if report.failed and item.config.stash.get(MADE, None) is not None:
        report.sections.append(("the cluster", item.config.stash[MADE].describe()))
