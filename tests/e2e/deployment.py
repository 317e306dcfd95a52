# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Real programs on loopback: a CA, agents and the operator's command, each in its own folder."""

import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("LINCHPIN_BIN", ROOT / "build/release/bin"))
TRUST_DOMAIN = "example.org"
DEADLINE = float(os.environ.get("LINCHPIN_TEST_DEADLINE", "60"))


def wait_for(what, predicate, deadline=None):
    """Polls until `predicate` gives something true; fails, naming `what`, after the deadline."""
    end = time.monotonic() + (deadline or DEADLINE)
    pause = threading.Event()
    last = None
    while time.monotonic() < end:
        last = predicate()
        if last:
            return last
        pause.wait(0.02)
    raise AssertionError(f"waited {deadline or DEADLINE:.0f} s for {what}; last seen: {last!r}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A program whose output goes to a file, so that a full pipe never stops it."""

    def __init__(self, name, args, folder, env=None):
        self.name = name
        self.log = folder / f"{name}.log"
        self.output = open(self.log, "ab")
        self.popen = subprocess.Popen(
            [str(a) for a in args], stdin=subprocess.DEVNULL, stdout=self.output,
            stderr=subprocess.STDOUT, env={**os.environ, **(env or {})},
            start_new_session=True)  # with whatever it starts, it is one group to signal

    def text(self):
        return self.log.read_text(errors="replace")

    def alive(self):
        return self.popen.poll() is None

    def kill(self, signum=signal.SIGKILL):
        if self.alive():
            os.killpg(self.popen.pid, signum)
        return self.popen.wait(timeout=DEADLINE)

    def wait(self):
        return self.popen.wait(timeout=DEADLINE)


class Deployment:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.processes = []
        self.ca_port = free_port()
        self.ca_dir = self.folder / "ca"
        self.admin = self.ca_dir / "admin.sock"
        self.ca = None
        self.ca_metrics = "off"
        self.metrics = "off"  # the agents'
        self.env = {}         # of programs to be started
        self.bin = BIN

    # The CA.
    def ca_args(self, *extra):
        return [self.bin / "linchpin-ca", "run", "--data-dir", self.ca_dir, "--trust-domain",
                TRUST_DOMAIN, "--listen", f"127.0.0.1:{self.ca_port}", "--metrics", self.ca_metrics,
                *extra]

    def start_ca(self, *extra):
        self.ca = self.start("linchpin-ca", self.ca_args(*extra))
        wait_for("the CA's admin socket", lambda: self.ca_answers() or not self.ca.alive())
        assert self.ca.alive(), self.ca.text()
        return self.ca

    def ca_answers(self):
        return self.admin.exists() and self.run("ca", "pins", check=False).returncode == 0

    # Agents.
    def agent_dir(self, name):
        return self.folder / f"agent-{name}"

    def agent_args(self, name, *extra):
        return [self.bin / "linchpin-agent", "run", "--data-dir", self.agent_dir(name),
                "--trust-domain", TRUST_DOMAIN, "--ca", f"127.0.0.1:{self.ca_port}",
                "--metrics", self.metrics, *extra]

    def join(self, name, *extra):
        """A new agent by --ca-pin and join token."""
        token = self.folder / f"token-{name}"
        token.write_text(self.out("node", "token", "--ttl", "10m", "--node", name) + "\n")
        return self.start_agent(name, "--ca-pin", self.root_pin(), "--join-token-file", token,
                                *extra)

    def start_agent(self, name, *extra):
        agent = self.start(f"linchpin-agent-{name}", self.agent_args(name, *extra))
        wait_for(f"agent {name}'s socket", lambda: self.socket(name).exists() or not agent.alive())
        return agent

    def socket(self, name):
        return self.agent_dir(name) / "agent.sock"

    def root_pin(self):
        return self.out("ca", "pins").splitlines()[0].split()[0]

    def node_id(self, name):
        return f"spiffe://{TRUST_DOMAIN}/linchpin/node/{name}"

    # The operator's command.
    def command(self):
        return [str(self.bin / "linchpin"), "--admin-socket", str(self.admin)]

    def run(self, *args, check=True, env=None, text=""):
        done = subprocess.run(
            [*self.command(), *map(str, args)],
            capture_output=True, text=True, timeout=DEADLINE, input=text,
            env={**os.environ, **(env or {})})
        if check and done.returncode != 0:
            raise AssertionError(f"linchpin {' '.join(map(str, args))}: {done.stderr}{done.stdout}")
        return done

    def out(self, *args):
        return self.run(*args).stdout.strip()

    def json(self, *args):
        return json.loads(self.out(*args, "-o", "json"))

    def fetch(self, name, *args, check=False):
        return subprocess.run(
            [str(self.bin / "linchpin"), "--socket", f"unix://{self.socket(name)}", "fetch",
             *map(str, args)], capture_output=True, text=True, timeout=DEADLINE,
            stdin=subprocess.DEVNULL, check=check)

    def identity(self, path, selector, *extra):
        return self.out("identity", "create", "--id", f"spiffe://{TRUST_DOMAIN}{path}",
                        "--selector", selector, "--any-node", *extra)

    # Processes.
    def start(self, name, args, env=None):
        process = Process(name, args, self.folder, {**self.env, **(env or {})})
        self.processes.append(process)
        return process

    def stop(self):
        for process in reversed(self.processes):
            if process.alive():
                process.kill()
            process.output.close()


def readable(fd, seconds):
    return bool(select.select([fd], [], [], seconds)[0])


def copy_program(source, target):
    shutil.copy(source, target)
    return target
