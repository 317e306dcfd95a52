# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A real Envoy in a pod, on the example's TLS configuration, served by its agent's SDS."""

import shutil
import sys

import pytest
import yaml
from cluster import calls_api, pod, ROOT, spiffe_id
from deployment import wait_for

sys.path[:0] = [str(ROOT / "k8s/image"), str(ROOT / "tests/peers")]
import build  # noqa: E402
import image  # noqa: E402

ECHO = "envoy.extensions.filters.network.echo.v3.Echo"
pytestmark = pytest.mark.k8s


@pytest.fixture(scope="module")
def envoy(cluster):
    """An image of Envoy's own release with the example beside it."""
    import envoys  # noqa: PLC0415
    rootfs = cluster.folder / "envoy"
    rootfs.mkdir()
    program = shutil.copy(envoys.program(), cluster.folder / "envoy.program")
    for library in sorted(build.libraries_of(program)):
        target = rootfs / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library, target)
        target.chmod(0o755)
    (rootfs / "usr/bin").mkdir(parents=True, exist_ok=True)
    shutil.move(program, rootfs / "usr/bin/envoy")
    (rootfs / "usr/bin/envoy").chmod(0o755)
    (rootfs / "tmp").mkdir()
    config = yaml.safe_load((ROOT / "examples/envoy/inbound.yaml").read_text())
    for listener in config["static_resources"]["listeners"]:  # who calls here speaks no HTTP
        listener["filter_chains"][0]["filters"] = [{
            "name": "echo", "typed_config": {"@type": "type.googleapis.com/" + ECHO}}]
    (rootfs / "envoy.yaml").write_text(yaml.safe_dump(config))
    archive = cluster.folder / "envoy.tar"
    image.write_image("localhost/envoy:1", archive, rootfs)
    cluster.import_image(archive)


def test_an_envoy_pod_is_served_by_sds(cluster, envoy):
    cluster.wait_attested()
    cluster.account("api", "web", "other")
    cluster.allow("api", "web")
    made = pod("envoy", "api", "node1", ["envoy", "-c", "/envoy.yaml", "--disable-hot-restart",
                                         "--concurrency", "1", "--log-level", "info"])
    made["spec"]["containers"][0]["image"] = "localhost/envoy:1"
    cluster.apply(made)
    address = cluster.address("envoy")
    cluster.pod("web", "web", "node2", calls_api(address, "--connections", "0"))
    wait_for("Envoy to let `web` in", lambda: cluster.last("web", "counts").get("ok", 0) > 3, 120)
    assert cluster.last("web", "handshake")["peer_id"] == spiffe_id("api")
    cluster.pod("other", "other", "node2", calls_api(address, "--connections", "3"))
    wait_for("Envoy to refuse the other",
             lambda: cluster.last("other", "counts").get("failed") == 3, 120)
    assert cluster.last("other", "counts")["ok"] == 0
    cluster.kubectl("-n", "shop", "delete", "peerpolicy", "api")
    wait_for("a deleted policy to be in force at Envoy",
             lambda: cluster.last("web", "counts").get("failed", 0) > 0, 60)
    cluster.delete_pod("envoy", "web", "other")
