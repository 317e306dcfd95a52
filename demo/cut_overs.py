# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The demonstration's cut-overs: another issuer under traffic, and the backup that takes over."""

import json
import signal

from stage import Failure


class CutOvers:
    """`stage` runs the command; `agent` is asked for the agent of now."""

    def __init__(self, stage, agent, ttl):
        self.stage, self.agent, self.ttl = stage, agent, ttl
        self.folder = stage.operator
        self.sets = 1
        self.issuers = [self.active_issuer()]

    def active_issuer(self):
        authorities = json.loads(self.stage.cli("ca", "pins", "-o", "json").stdout)["authorities"]
        return [a["spkiSha256"] for a in authorities
                if a["kind"] == "issuer" and a["state"] == "active"][0]

    def step(self):
        return json.loads(self.stage.cli("rotate", "status", "-o", "json").stdout)["step"]

    def now_signs_another(self):
        self.issuers.append(self.active_issuer())
        return self.issuers[-1] not in self.issuers[:-1]

    def publish(self, *options):
        """Drafted beside the CA, signed with the key that the CA does not hold, published."""
        self.sets += 1
        draft = self.folder / f"pins-{self.sets}.json"
        self.stage.cli("rotate", "draft", "--out", draft, *options)
        self.stage.cli("pins", "sign", "--key", self.folder / "signer.key", draft)
        self.stage.cli("pins", "publish", draft)

    def begin(self):
        """Another issuer is prepared and signed for; it does not sign while one agent is late."""
        cli, say = self.stage.cli, self.stage.say
        cli("rotate", "prepare", "--what", "issuer")
        self.agent().popen.send_signal(signal.SIGSTOP)
        say("CUT-OVER", "another issuer is prepared; the agent is stopped with SIGSTOP, so that "
                        "it cannot hear of it")
        self.publish()
        say("operator", f"signed pin set {self.sets}, which names the new issuer")
        refused = cli("rotate", "activate", check=False)
        self.agent().popen.send_signal(signal.SIGCONT)
        self.stage.check(refused.returncode == 1 and "/linchpin/node/demo" in refused.stderr,
                         "rotate activate is refused and names the agent that is stopped")
        say("ca", f"refuses rotate activate: {refused.stderr.strip()}")
        active = self.stage.wait(
            "the agent goes on; waiting for the gate to open",
            lambda: cli("rotate", "activate", check=False).returncode == 0, 60)
        if not active:
            raise Failure(f"the gate stays closed: {cli('rotate', 'status').stdout}")
        self.stage.check(self.now_signs_another(), "the new issuer signs")
        say("ca", "the agent goes on, coverage is complete: the new issuer signs from now on")

    def finish(self):
        """The old issuer leaves once nothing of it is valid any more."""
        cli, say = self.stage.cli, self.stage.say
        drained = self.stage.wait("waiting for the last certificate of the old issuer to expire",
                                  lambda: cli("rotate", "drain", check=False).returncode == 0,
                                  2 * self.ttl + 60)
        if not drained:
            raise Failure(f"the old issuer is not drained: {cli('rotate', 'status').stdout}")
        cli("rotate", "drop")
        key = self.folder / "backup.key"
        cli("ca", "backup", "create", "--out", key)
        self.publish("--backup-key", key)
        done = self.stage.wait("waiting until nobody trusts the old issuer any more",
                               lambda: self.step() == "DONE", 60)
        self.stage.check(done, "the rotation is done")
        say("operator", f"signed pin set {self.sets} without the old issuer and with a backup "
                        "whose key the CA does not hold: the rotation is done")

    def fail_over(self, services):
        """The backup takes over at once; everybody has had its chain and its pin for long."""
        cli = self.stage.cli
        ready = self.stage.wait("waiting until the backup is trusted everywhere",
                                lambda: cli("failover", "--check", check=False).returncode == 0, 60)
        if not ready:
            raise Failure(f"no failover: {cli('failover', '--check', check=False).stdout}")
        before = {service: service.renewals for service in services}
        cli("failover", "--key", self.folder / "backup.key")
        self.stage.check(self.now_signs_another(), "the backup issuer signs")
        self.stage.say("FAILOVER", "the backup issuer has taken over, in one commit")
        renewed = self.stage.wait("waiting for certificates of the backup issuer",
                                  lambda: all(s.renewals > n for s, n in before.items()),
                                  self.ttl + 30)
        self.stage.check(renewed, "both services have certificates of the backup issuer")
