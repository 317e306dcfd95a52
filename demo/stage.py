# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What the demonstration runs on: processes, the operator's command, the story that is told."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BIN = pathlib.Path(os.environ.get("LINCHPIN_BIN", ROOT / "build/release/bin")).resolve()
TRUST_DOMAIN = "example.org"


class Failure(Exception):
    """The demonstration cannot go on; the message says what was expected and what was seen."""


def spiffe_id(name):
    return f"spiffe://{TRUST_DOMAIN}/{name}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A program whose output goes to files: a reader that goes away stops nothing."""

    def __init__(self, name, args, folder):
        self.name = name
        self.out = folder / f"{name}.out"
        self.log = folder / f"{name}.log"
        with open(self.out, "ab") as out, open(self.log, "ab") as log:
            self.popen = subprocess.Popen([str(arg) for arg in args], stdin=subprocess.DEVNULL,
                                          stdout=out, stderr=log, start_new_session=True)

    def alive(self):
        return self.popen.poll() is None

    def stop(self, signum=signal.SIGTERM, patience=10):
        if self.alive():
            self.popen.send_signal(signum)
        try:
            return self.popen.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()

    def last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class Service(Process):
    """A copy of linchpin-demo-service; its events are told as they come."""

    def __init__(self, stage, name, program, args, quiet=False):
        super().__init__(name, [program, "--socket", f"unix://{stage.agent_socket}", *args],
                         stage.logs)
        self.stage = stage
        self.quiet = quiet  # tells of its certificate only
        self.lost = False
        self.events = []
        self.offset = 0
        self.identity = None
        self.renewals = 0
        self.port = None
        self.counts = {"ok": 0, "failed": 0, "reasons": {}}
        stage.services.append(self)

    def poll(self):
        with open(self.out, "rb") as out:
            out.seek(self.offset)
            data = out.read()
        whole = data[:data.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            event = json.loads(line)
            self.events.append(event)
            self.tell(event)

    def tell(self, event):
        kind = event["event"]
        if kind == "identity":
            self.tell_identity(event)
            self.lost = False
        elif kind == "listening":
            self.port = event["port"]
        elif kind == "counts":
            self.counts = event
        elif self.quiet:
            pass
        elif kind == "agent_lost":
            if not self.lost:  # each try to reach it again is such an event
                self.stage.say(self.name, "has lost its agent; what it has goes on serving")
            self.lost = True
        elif kind in ("message_refused", "no_identity", "no_longer_allowed"):
            self.stage.say(self.name, event["text"])
        elif kind == "handshake" and event["ok"]:
            self.stage.say(self.name, f"talks to {event['peer_id']} ({event['group']})")
        elif kind == "refused":
            who = event["peer_id"] or "a peer"
            if self.of_kind(kind, reason=event["reason"], peer_id=event["peer_id"]) == 1:
                self.stage.say(self.name, f"refused {who}: {event['reason']}: {event['detail']}")
        elif kind == "handshake" and not event["text"].startswith(event["reason"]):
            if self.of_kind(kind, reason=event["reason"]) == 1:
                self.stage.say(self.name, f"a connection failed: {event['text']}")

    def tell_identity(self, event):
        before, self.identity = self.identity, event
        left = event["expires_at"] - time.time()
        what = (f"certificate {event['serial'][:12]}… for {event['spiffe_id']}, "
                f"{left:.0f} s left, trust epoch {event['trust_epoch']}")
        if before is None:
            self.stage.say(self.name, f"got {what}")
        elif before["serial"] != event["serial"]:
            self.renewals += 1
            used = before["expires_at"] - before["issued_at"]
            at = event["issued_at"] - before["issued_at"]
            self.stage.say(self.name, f"renewed after {at} of {used} s: {what}")
        elif before["trust_epoch"] != event["trust_epoch"]:
            self.stage.say(self.name, f"now enforces trust epoch {event['trust_epoch']}")
        else:
            self.stage.say(self.name, f"was given the same certificate again, {left:.0f} s left")

    def of_kind(self, kind, **fields):
        return sum(1 for event in self.events if event["event"] == kind and
                   all(event.get(name) == value for name, value in fields.items()))


class Stage:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.started = time.monotonic()
        self.pause = threading.Event()
        self.processes = []
        self.services = []
        self.problems = []
        self.told = 0
        self.logs = self.make("logs")
        self.operator = self.make("operator")
        self.bin = self.make("bin")
        self.ca_dir = self.folder / "ca"
        self.agent_dir = self.folder / "agent"
        self.admin_socket = self.ca_dir / "admin.sock"
        self.agent_socket = self.agent_dir / "agent.sock"
        self.agent_dir.mkdir(mode=0o711)

    def make(self, name):
        path = self.folder / name
        path.mkdir(mode=0o700)
        return path

    # The story.
    def elapsed(self):
        return time.monotonic() - self.started

    def say(self, who, what):
        print(f"{self.elapsed():6.1f} s  {who:<9} {what}", flush=True)
        self.told = self.elapsed()

    def check(self, holds, what):
        """Something that must be so; the story goes on, the verdict at the end does not forget."""
        if not holds:
            self.problems.append(what)
            self.say("NOT SO", what)
        return holds

    # Time.
    def poll(self):
        for service in list(self.services):
            service.poll()

    def wait(self, what, predicate, seconds):
        """True as soon as `predicate` holds; False after `seconds`. Says that it still lives."""
        end = time.monotonic() + seconds
        while True:
            self.poll()
            if predicate():
                return True
            if time.monotonic() >= end:
                return False
            if self.elapsed() - self.told > 10:
                made = sum(service.counts["ok"] for service in self.services[-1:])
                self.say("…", f"{what} ({made} connections so far)" if made else what)
            self.pause.wait(0.05)

    def need(self, what, predicate, seconds):
        if not self.wait(f"waiting for {what}", predicate, seconds):
            raise Failure(f"waited {seconds:.0f} s for {what}")

    def until(self, instant, what):
        self.wait(what, lambda: time.time() >= instant, max(0, instant - time.time()) + 1)

    # Processes.
    def start(self, name, args):
        process = Process(name, args, self.logs)
        self.processes.append(process)
        return process

    def service(self, name, program, *args, quiet=False):
        service = Service(self, name, program, args, quiet)
        self.processes.append(service)
        return service

    def run_service(self, name, program, *args):
        """To its end; it is no longer polled then."""
        service = self.service(name, program, *args, quiet=True)
        self.need(f"{name} to end", lambda: not service.alive(), 60)
        self.poll()
        self.services.remove(service)
        return service

    def stop(self):
        for process in reversed(self.processes):
            process.stop()

    # The operator's command.
    def cli(self, *args, check=True):
        done = subprocess.run(
            [str(BIN / "linchpin"), "--admin-socket", str(self.admin_socket), *map(str, args)],
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise Failure(f"linchpin {' '.join(map(str, args))}: exit {done.returncode}: "
                          f"{(done.stderr or done.stdout).strip()}")
        return done
