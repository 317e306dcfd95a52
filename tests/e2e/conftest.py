# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
import sys
import pathlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from attacker import Impostor, leaf  # noqa: E402
from deployment import Deployment  # noqa: E402
from kube_api import KubeApi  # noqa: E402
from pinned_world import FOREIGN  # noqa: E402


@pytest.fixture
def deployment(tmp_path):
    """Nothing runs yet; everything that is started through it is killed at the end."""
    made = Deployment(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def ca(deployment):
    deployment.start_ca()
    return deployment


@pytest.fixture
def api(tmp_path):
    """What stands in for a cluster's API server."""
    made = KubeApi(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def impostors():
    """Each answers as the other service, with a certificate under the issuer that it is given."""
    made = []

    def make(world, name, issuer):
        made.append(Impostor(*leaf(world.ca.folder, name, FOREIGN, issuer)))
        return made[-1].port
    yield make
    for impostor in made:
        impostor.close()
