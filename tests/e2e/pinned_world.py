# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A CA with three signers whose keys it does not hold, and a node that follows their pin sets."""

import json
import os
import subprocess
import urllib.request

from attacker import Key, Store, fields
from deployment import BIN, DEADLINE, free_port, wait_for

UID = f"unix:uid:{os.getuid()}"
FOREIGN = "spiffe://example.org/payments"


class World:
    """A CA, its signers, and a node of each kind; the signers' keys are not the CA's."""

    def __init__(self, ca, signed_node, agent_args=()):
        self.ca = ca
        self.store = Store(ca.ca_dir / "store.db")
        self.signers = {}
        for name in ("alice", "bob", "carol"):
            path = ca.folder / f"{name}.key"
            ca.out("pins", "keygen", "--out", path)
            self.signers[name] = Key(path)
        self.drafted = 0
        self.metrics = ca.metrics = f"127.0.0.1:{free_port()}"
        ca.identity("/web", UID)
        if signed_node:
            self.publish("--signer", ca.folder / "alice.key", "--signer", ca.folder / "bob.key",
                         "--signer", ca.folder / "carol.key", "--threshold", "2")
            self.newcomer("n", None, *agent_args)
        else:
            ca.join("n")
        self.pins_of_service()

    def newcomer(self, name, signers=None, *args):
        """An agent that knows the signers, and has a token."""
        file, token = self.ca.folder / f"signers-{name}.json", self.ca.folder / f"token-{name}"
        file.write_text(signers or self.ca.out("pins", "export", "--signers"))
        token.write_text(self.ca.out("node", "token", "--ttl", "10m", "--node", name))
        self.ca.metrics = self.metrics if name == "n" else "off"
        return self.ca.start_agent(name, "--signers", file, "--join-token-file", token, *args)

    def signed_draft(self, *draft, by=("alice", "bob")):
        self.drafted += 1
        file = self.ca.folder / f"pins-{self.drafted}.json"
        self.ca.out("pins", "draft", *draft, "--out", file)
        for name in by:
            self.ca.out("pins", "sign", "--key", self.signers[name].path, file)
        return file

    def publish(self, *draft, by=("alice", "bob")):
        file = self.signed_draft(*draft, by=by)
        self.ca.out("pins", "publish", file)
        return file

    def attack(self, do):
        """With the CA stopped, and started again."""
        self.ca.ca.kill()
        do()
        self.ca.start_ca()

    def node(self, name="n"):
        return next((n for n in self.ca.json("node", "list").get("nodes", [])
                     if n["nodeId"] == self.ca.node_id(name)), {})

    def refused(self, part):
        wait_for(f"the node to refuse because of {part!r}",
                 lambda: part in self.node().get("refusedTrust", ""))

    def pins_of_service(self):
        """What a service of the node enforces now."""
        def look():
            done = self.ca.fetch("n", "-o", "json")
            return json.loads(done.stdout) if done.returncode == 0 else None
        return wait_for("a service's context", look)["trustDomains"][0]

    # The sets in the store, and what could be made of them.
    def sets(self):
        return [value for number, value in self.store.trust() if number == 2]

    def last_payload(self):
        return dict(fields(self.sets()[-1]))[1]

    def offer(self, sets, relax=None):
        entries = [(2, one) for one in sets] + ([(3, relax)] if relax else [])
        self.attack(lambda: self.store.write_trust(entries))

    def metric(self, name):
        """The sum of an agent's counter."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=DEADLINE) as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def call(self, port):
        """One call of the service on the node, to whoever answers there as the other service."""
        return subprocess.run(
            [BIN / "linchpin-demo-service", "--socket", f"unix://{self.ca.socket('n')}", "--call",
             f"127.0.0.1:{port}", "--expect", FOREIGN, "--connections", "1"],
            capture_output=True, text=True, timeout=DEADLINE, stdin=subprocess.DEVNULL, check=False)


class Files:
    """A directory that the node reads pin sets from."""

    def __init__(self, ca):
        self.ca, self.folder = ca, ca.folder / "pins.d"
        self.folder.mkdir()

    def put(self, document):
        """Whole or not at all, as a mounted ConfigMap would be."""
        whole = self.folder / f"{document.stem}.new"
        whole.write_text(self.ca.out("pins", "export", document))
        os.replace(whole, self.folder / f"{document.stem}.json")
