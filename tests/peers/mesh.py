# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A CA and one agent for foreign clients, what clients say, and a thief of the root's key."""

import os
import re
import subprocess

import rogue
from deployment import DEADLINE, TRUST_DOMAIN, Deployment, copy_program, wait_for

ANYBODY = f"unix:uid:{os.geteuid()}"
# A new generation every six seconds; no backdating, so that the life is as short as it says.
SHORT_LIVES = "authority:\n  leaf_ttl: 12s\n  backdate: 0s\n"


def spiffe_id(name):
    return f"spiffe://{TRUST_DOMAIN}/{name}"


class Node(Deployment):
    def begin(self, short_lives=False, agent=()):
        extra = ()
        if short_lives:
            config = self.folder / "ca.yaml"
            config.write_text(SHORT_LIVES)
            extra = ("--config", config)
        self.start_ca(*extra)
        self.join("node", *agent)
        self.env = {"SPIFFE_ENDPOINT_SOCKET": f"unix://{self.socket('node')}"}
        return self

    def installed(self, program, name):
        """A copy of a program, which alone is registered as `name`."""
        copy = copy_program(program, self.folder / name)
        self.identity(f"/{name}", f"unix:path:{copy}")
        return copy

    def client(self, name, *args):
        return Client(self.start(name, args))

    def once(self, *args):
        """Runs to the end -> exit code and lines."""
        done = subprocess.run([str(a) for a in args], capture_output=True, text=True,
                              timeout=DEADLINE, stdin=subprocess.DEVNULL,
                              env={**os.environ, **self.env}, check=False)
        return done.returncode, done.stdout.splitlines() + done.stderr.splitlines()


class Client:
    """A running client that says one event a line."""

    def __init__(self, process):
        self.process = process

    def said(self, event):
        return re.findall(rf"^{event} (.*)$", self.process.text(), re.MULTILINE)

    def wait(self, event, times=1, deadline=None):
        wait_for(f"{self.process.name} to say '{event}' {times} times; it says:\n"
                 f"{self.process.text()[-600:]}\n",
                 lambda: len(self.said(event)) >= times or not self.process.alive(), deadline)
        found = self.said(event)
        assert len(found) >= times, self.process.text()
        return found

    def generations(self):
        """The certificates that it has been given, in order."""
        return list(dict.fromkeys(line.split()[1] for line in self.said("svid")))


class Thief:
    """Has stolen the root's key and certifies issuers of its own under the true root."""

    def __init__(self, deployment, issuer_subject=None):
        self.folder = deployment.folder / f"thief-{issuer_subject is not None}"
        self.folder.mkdir()
        self.root = self.folder / "root.pem"
        self.root.write_text(deployment.out("bundle", "show", "--pem") + "\n")
        key, = deployment.ca_dir.rglob("root-1.pem")
        self.issuer, self.issuer_key = rogue.certify(self.folder, "issuer", rogue.ISSUER, self.root,
                                                     key, issuer_subject)

    def certify(self, name):
        """-> a file with the leaf and its issuer, and the leaf's key."""
        leaf, key = rogue.certify(self.folder, "leaf", rogue.LEAF.format(id=spiffe_id(name)),
                                  self.issuer, self.issuer_key)
        chain = self.folder / f"{name}-chain.pem"
        chain.write_text(leaf.read_text() + self.issuer.read_text())
        return chain, key
