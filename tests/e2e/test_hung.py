# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A service that does not notice its agent's restart, and lives."""

import json
import signal

from deployment import wait_for
from test_rotation import Service


def consumers(deployment):
    said = json.loads(deployment.run("coverage", "-o", "json", check=False).stdout)
    return [consumer for node in said["nodes"] for consumer in node.get("consumers", [])]


def waited_for(deployment):
    return [c["spiffeId"] for c in consumers(deployment)
            if c["consumerId"].startswith("<restart>/")]


def sealed_at(deployment):
    return (deployment.agent_dir("a") / "private" / "state.sealed").stat().st_mtime_ns


def test_a_service_that_hangs_is_known_to_the_next_agent_until_it_ends(ca):
    agent = ca.join("a")
    payments = Service(ca, "a", "payments").start("--serve", "0")
    wait_for("its certificate", lambda: payments.events("listening"))
    wait_for("it to count", lambda: consumers(ca))
    payments.process.kill()
    wait_for("its end", lambda: not consumers(ca))

    # There is nothing to seal but the process.
    before = sealed_at(ca)
    hung = payments.start("--serve", "0").process
    wait_for("the process to be sealed", lambda: sealed_at(ca) != before)
    hung.popen.send_signal(signal.SIGSTOP)

    # Of an identity that is registered no more nobody is waited for who is not known.
    before = sealed_at(ca)
    ca.out("identity", "delete", *identity_ids(ca))
    wait_for("the agent to have heard", lambda: sealed_at(ca) != before)
    agent.kill()
    ca.start_agent("a")
    wait_for("it to be waited for", lambda: waited_for(ca) == [payments.id])
    hung.kill()
    wait_for("its end", lambda: not consumers(ca))


def identity_ids(deployment):
    return [i["identityId"] for i in deployment.json("identity", "list")["identities"]]
