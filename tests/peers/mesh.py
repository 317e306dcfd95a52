# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A CA and one agent for foreign clients, what clients say, and a thief of the root's key."""

import os
import re
import socket
import subprocess

import rogue
from deployment import DEADLINE, TRUST_DOMAIN, Deployment, copy_program, free_port, wait_for

ANYBODY = f"unix:uid:{os.geteuid()}"
# A new generation every six seconds; no backdating, so that the life is as short as it says.
SHORT_LIVES = "authority:\n  leaf_ttl: 12s\n  backdate: 0s\n"


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
        wait_for("the node", lambda: "1 of 1" in self.run("coverage", check=False).stdout)
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

    def fetched(self, *args, identities=1):
        """What a client's only request gives once the agent has certificates for it."""
        last = []

        def attempt():
            last[:] = [self.once(*args)]
            said = [line for line in last[0][1] if line.startswith("svid ")]
            return last[0][0] == 0 and len(said) >= identities
        try:
            wait_for(f"{args} to fetch", attempt)
        except AssertionError as error:
            raise AssertionError(f"{error}; {last}") from None
        return last[0][1]

    def publish_pins(self, *how):
        """The first signed pin set: a change of trust that reaches every client."""
        key, draft = self.folder / "signer.key", self.folder / "pins.json"
        self.out("pins", "keygen", "--out", key)
        self.out("pins", "draft", "--signer", key, "--threshold", "1", "--out", draft, *how)
        self.out("pins", "sign", "--key", key, draft)
        self.out("pins", "publish", draft)


class Client:
    """A running client that says one event a line."""

    def __init__(self, process):
        self.process = process

    def said(self, event):
        return re.findall(rf"^{event}(?: (.*))?$", self.process.text(), re.MULTILINE)

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
        self.deployment = deployment
        self.folder = deployment.folder / f"thief-{issuer_subject is not None}"
        self.folder.mkdir()
        self.root = self.folder / "root.pem"
        self.root.write_text(deployment.out("bundle", "show", "--pem") + "\n")
        key, = deployment.ca_dir.rglob("root-1.pem")
        self.issuer, self.issuer_key = rogue.certify(self.folder, "issuer", rogue.ISSUER, self.root,
                                                     key, issuer_subject)

    def serve(self, name):
        """A TLS server that claims to be `name` -> where it listens."""
        chain, key = self.certify(name)
        port = free_port()
        self.deployment.start("thief", [
            "openssl", "s_server", "-tls1_3", "-accept", f"127.0.0.1:{port}", "-cert", chain,
            "-cert_chain", self.issuer, "-key", key, "-quiet"])
        wait_for("the thief to listen", lambda: listens(port))
        return f"127.0.0.1:{port}"

    def call(self, name, to):
        """One handshake as `name`, and what a server would say after it."""
        chain, key = self.certify(name)
        return subprocess.run(
            ["openssl", "s_client", "-tls1_3", "-connect", to, "-cert", chain, "-cert_chain",
             self.issuer, "-key", key, "-quiet"], input="who am I?\n", capture_output=True,
            text=True, errors="replace", timeout=DEADLINE, check=False)

    def certify(self, name):
        """-> a file with the leaf and its issuer, and the leaf's key."""
        leaf, key = rogue.certify(self.folder, "leaf", rogue.LEAF.format(id=spiffe_id(name)),
                                  self.issuer, self.issuer_key)
        chain = self.folder / f"{name}-chain.pem"
        chain.write_text(leaf.read_text() + self.issuer.read_text())
        return chain, key
