#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The demonstration: two services keep talking while their CA and their agent are killed, and
while the issuer of their certificates is replaced twice.

Real programs, sockets, keys and TLS; about three minutes. Fails if anything is not as told.
"""

import argparse
import pathlib
import shutil
import signal
import socket
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import rogue  # noqa: E402
from cut_overs import CutOvers  # noqa: E402
from stage import BIN, TRUST_DOMAIN, Failure, Stage, free_port, spiffe_id  # noqa: E402

PROGRAMS = ["linchpin-ca", "linchpin-agent", "linchpin", "linchpin-demo-service"]
MINIMUM = 1000  # connections between allowed peers, at the usual TTL
EARLIEST_RENEWAL = 0.45  # of a certificate's life: half of it, ±10 %


class Demonstration:
    def __init__(self, stage, options):
        self.stage = stage
        self.options = options
        self.ttl = options.ttl
        self.outage = options.ttl / 4
        self.ca_port = free_port()
        self.ca = self.agent = self.payments = self.web = None
        self.copies = {}
        self.rogues = 0
        self.issuers = 1

    # Setting up.
    def start_ca(self):
        self.ca = self.stage.start("ca", [BIN / "linchpin-ca", "run", "--config",
                                          self.stage.operator / "ca.yaml"])

    def found_ca(self):
        (self.stage.operator / "ca.yaml").write_text(
            f"data_dir: {self.stage.ca_dir}\ntrust_domain: {TRUST_DOMAIN}\n"
            f"listen: 127.0.0.1:{self.ca_port}\nmetrics: \"off\"\n"
            f"authority:\n  backdate: 0s\n  node_ttl: {self.ttl}s\n")
        self.start_ca()
        self.stage.need("the CA's admin socket", self.ca_answers, 30)
        pins = self.stage.cli("ca", "pins").stdout.splitlines()
        self.stage.say("ca", f"made a root, an active and a backup issuer ({len(pins)} keys); "
                             f"the root is {pins[0].split()[0][:23]}…")

    def ca_answers(self):
        if not self.ca.alive():
            raise Failure(f"linchpin-ca has ended: {self.ca.last_words()}")
        return (self.stage.admin_socket.exists() and
                self.stage.cli("ca", "pins", check=False).returncode == 0)

    def publish_pins(self):
        folder, cli = self.stage.operator, self.stage.cli
        key, draft = folder / "signer.key", folder / "pins-1.json"
        cli("pins", "keygen", "--out", key)
        cli("pins", "draft", "--signer", f"{key}.pub", "--threshold", "1", "--out", draft)
        cli("pins", "sign", "--key", key, draft)
        said = cli("pins", "publish", draft).stdout.strip()
        (folder / "signers.json").write_text(cli("pins", "export", "--signers").stdout)
        self.stage.say("operator", f"signed pin set 1 with a key that the CA does not hold: {said}")

    def start_agent(self):
        args = [BIN / "linchpin-agent", "run", "--config", self.stage.operator / "agent.yaml"]
        if self.options.renewal_off:
            args.append("--renewal-off")
        self.agent = self.stage.start("agent", args)

    def found_agent(self):
        token = self.stage.operator / "token"
        token.touch(mode=0o600)
        token.write_text(self.stage.cli("node", "token", "--ttl", "10m", "--node", "demo").stdout)
        (self.stage.operator / "agent.yaml").write_text(
            f"data_dir: {self.stage.agent_dir}\ntrust_domain: {TRUST_DOMAIN}\n"
            f"ca: 127.0.0.1:{self.ca_port}\nsigners: {self.stage.operator / 'signers.json'}\n"
            f"join_token_file: {token}\nsocket: {self.stage.agent_socket}\nmetrics: \"off\"\n"
            "skew: 0s\n")
        self.start_agent()
        self.stage.need("the agent to be attested", self.agent_joined, 30)
        self.stage.say("agent", "verified the CA against the signed pins, then joined as "
                                "linchpin/node/demo")

    def agent_joined(self):
        if not self.agent.alive():
            raise Failure(f"linchpin-agent has ended: {self.agent.last_words()}")
        return "/linchpin/node/demo" in self.stage.cli("node", "list", check=False).stdout

    def register(self):
        for name in ("payments", "web", "stranger"):
            self.copies[name] = self.stage.bin / name
            shutil.copy(BIN / "linchpin-demo-service", self.copies[name])
            self.stage.cli("identity", "create", "--id", spiffe_id(name), "--selector",
                           f"unix:path:{self.copies[name]}", "--node", "demo", "--ttl",
                           f"{self.ttl}s")
        self.stage.cli("policy", "allow", "--from", spiffe_id("web"), "--to", spiffe_id("payments"))
        self.stage.say("operator", f"registered payments, web, stranger (TTL {self.ttl} s); "
                                   "allowed web → payments and nothing else")

    # The acts.
    def start_services(self):
        self.payments = self.stage.service("payments", self.copies["payments"], "--serve", "0")
        self.stage.need("payments to listen", lambda: self.payments.port is not None, 60)
        self.web = self.stage.service("web", self.copies["web"], "--call", self.at_payments(),
                                      "--expect", spiffe_id("payments"), "--interval-ms", "40")
        self.stage.need("web and payments to talk",
                        lambda: self.web.of_kind("handshake", ok=True) and
                        self.payments.of_kind("handshake", ok=True), 60)

    def at_payments(self):
        return f"127.0.0.1:{self.payments.port}"

    def refuse_stranger(self):
        """It has a valid certificate, and its own half of the policy patched out."""
        before = self.payments.of_kind("refused")
        stranger = self.stage.run_service(
            "stranger", self.copies["stranger"], "--call", self.at_payments(), "--expect",
            spiffe_id("payments"), "--connections", "3", "--unjudged")
        self.stage.check(stranger.identity is not None, "stranger has a certificate of this CA")
        self.stage.wait("payments' refusals",
                        lambda: self.payments.of_kind("refused") >= before + 3, 10)
        refusals = [event for event in self.payments.events if event["event"] == "refused"]
        right = [event for event in refusals if event["reason"] == "PEER_NOT_ALLOWED" and
                 event["peer_id"] == spiffe_id("stranger")]
        self.stage.check(stranger.popen.returncode == 1 and len(right) == 3,
                         "payments refuses stranger with PEER_NOT_ALLOWED")

    def refuse_rogue(self):
        root = self.stage.cli("bundle", "show", "--pem").stdout
        keys = list(self.stage.ca_dir.rglob("root-1.pem"))
        if len(keys) != 1:
            raise Failure(f"expected the root's key root-1.pem in {self.stage.ca_dir}")
        port = free_port()
        server = rogue.serve(self.stage, port, spiffe_id("payments"), root, keys[0])
        self.stage.need("the rogue to listen", lambda: listens(port), 10)
        victim = self.stage.run_service("web-rogue", self.copies["web"], "--call",
                                        f"127.0.0.1:{port}", "--expect", spiffe_id("payments"),
                                        "--connections", "3")
        server.stop()
        refused = [event for event in victim.events if event["event"] == "refused" and
                   event["reason"] == "ISSUER_NOT_PINNED"]
        self.rogues = len(refused)
        if refused:
            self.stage.say("web", "refused a false payments, certified under the true root by a "
                                  f"thief of its key: {refused[0]['reason']}: "
                                  f"{refused[0]['detail']}")
        self.stage.check(victim.popen.returncode == 1 and self.rogues == 3,
                         "web refuses an unpinned issuer under the true root: ISSUER_NOT_PINNED")

    def first_renewal(self):
        """Both, by half of their life and 10 % of it, and a few seconds for slow machines."""
        by = max(self.web.identity["issued_at"], self.payments.identity["issued_at"])
        renewed = self.stage.wait("the first renewals are due at half of the certificates' life",
                                  lambda: self.web.renewals and self.payments.renewals,
                                  by + self.ttl * 0.55 + 5 - time.time())
        return self.stage.check(renewed, "both certificates are renewed at half of their life")

    def outage_of_the_ca(self):
        first_due = (min(self.web.identity["issued_at"], self.payments.identity["issued_at"]) +
                     self.ttl * EARLIEST_RENEWAL)
        self.stage.until(first_due - 2, "waiting until just before the next renewal is due")
        before = {service: service.renewals for service in (self.web, self.payments)}
        expiry = max(service.identity["expires_at"] for service in before)
        self.ca.stop(signal.SIGKILL)
        back_at = time.time() + self.outage
        self.stage.say("OUTAGE", f"the CA is killed with SIGKILL for {self.outage:.0f} s, "
                                 "just before a renewal is due")
        self.restart_agent()
        self.stage.until(back_at, "the CA is down")
        self.stage.check(all(s.renewals == n for s, n in before.items()),
                         "nothing can be renewed while the CA is down")
        self.start_ca()
        self.stage.need("the CA to return", self.ca_answers, 30)
        self.stage.say("ca", "is back")
        renewed = self.stage.wait("waiting for the renewals that were due",
                                  lambda: all(s.renewals > n for s, n in before.items()),
                                  expiry - time.time())
        self.stage.check(renewed, "both certificates are renewed before they expire")
        self.stage.until(expiry + 1, "running on until every certificate from before has expired")

    def restart_agent(self):
        self.stage.until(time.time() + self.outage / 5, "the CA is down")
        self.agent.stop(signal.SIGKILL)
        self.stage.say("OUTAGE", "the agent is killed with SIGKILL, too")
        lost = self.stage.wait("waiting for the services to notice",
                               lambda: self.web.of_kind("agent_lost"), 10)
        self.stage.check(lost, "web notices that its agent is gone")
        self.start_agent()
        self.stage.say("agent", "is started again, with the CA still down")
        newcomer = self.stage.run_service("web-new", self.copies["web"], "--call",
                                          self.at_payments(), "--expect", spiffe_id("payments"),
                                          "--connections", "3")
        self.stage.check(newcomer.popen.returncode == 0 and not self.ca.alive(),
                         "a new process is served from the agent's sealed state")
        if newcomer.popen.returncode == 0:
            self.stage.say("web-new", "talks to payments: its agent served it from sealed state")

    # The end.
    def count(self):
        if not self.options.keep:
            self.web.stop()
        self.stage.poll()
        made, failed = self.web.counts["ok"], self.web.counts["failed"]
        refused = self.payments.of_kind("refused", peer_id=spiffe_id("web"))
        wanted = MINIMUM if self.ttl >= 60 else MINIMUM * self.ttl // 120
        self.stage.check(made >= wanted, f"at least {wanted} connections were made ({made} were)")
        self.stage.check(failed + refused == 0,
                         f"0 connections between allowed peers were refused "
                         f"({failed + refused} were: {self.web.counts['reasons']})")
        strangers = self.payments.of_kind("refused", reason="PEER_NOT_ALLOWED")
        print(f"""
  web → payments   {made} connections, {failed + refused} refused
  stranger         3 connections, {strangers} refused: PEER_NOT_ALLOWED
  rogue issuer     3 connections, {self.rogues} refused: ISSUER_NOT_PINNED
  renewals         web {self.web.renewals}, payments {self.payments.renewals}
  issuers          {self.issuers}, one after the other
""", flush=True)

    def check_coverage(self):
        done = self.stage.cli("coverage", check=False)
        self.stage.check(done.returncode == 0 and "in force" in done.stdout,
                         f"the CA knows that every service enforces this trust epoch: "
                         f"{done.stdout.strip() or done.stderr.strip()}")
        if done.returncode == 0:
            self.stage.say("operator", f"linchpin coverage: {done.stdout.splitlines()[0]}")

    def run(self):
        print(f"seconds, who, what; everything is in {self.stage.folder}\n", flush=True)
        self.found_ca()
        self.publish_pins()
        self.found_agent()
        self.register()
        self.start_services()
        self.refuse_stranger()
        self.refuse_rogue()
        cut_overs = CutOvers(self.stage, lambda: self.agent, self.ttl)
        cut_overs.begin()
        if self.first_renewal():
            self.outage_of_the_ca()
            self.check_coverage()
            cut_overs.finish()
            cut_overs.fail_over([self.web, self.payments])
            self.issuers = len(cut_overs.issuers)
        else:
            self.stage.until(self.web.identity["expires_at"] + 2, "running on until expiry")
        self.count()

    def leave_running(self):
        you = spiffe_id("you")
        self.stage.cli("identity", "create", "--id", you, "--selector",
                       f"unix:path:{BIN / 'linchpin'}", "--node", "demo", "--ttl", "1h")
        self.stage.cli("policy", "allow", "--from", you, "--to", spiffe_id("payments"))
        out = self.stage.folder / "you"
        pids = " ".join(str(p.popen.pid) for p in self.stage.processes if p.alive())
        print(f"""All as told; everything still runs in {self.stage.folder}. You are {you}:

  {BIN}/linchpin --socket unix://{self.stage.agent_socket} fetch
  {BIN}/linchpin --socket unix://{self.stage.agent_socket} fetch --write {out}
  (echo x; sleep 1) | openssl s_client -connect {self.at_payments()} -tls1_3 -brief \\
      -cert {out}/chain.pem -key {out}/key.pem -CAfile {out}/bundle.pem
  {BIN}/linchpin --admin-socket {self.stage.admin_socket} coverage
  tail -f {self.stage.logs}/web.out

To end it:  kill {pids}; rm -r {self.stage.folder}""")


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def arguments():
    parser = argparse.ArgumentParser(prog="demo/run.py", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    parser.add_argument("--ttl", type=int, default=60, help="seconds of a certificate (60)")
    parser.add_argument("--renewal-off", action="store_true",
                        help="an agent that never renews: the demonstration must fail")
    return parser.parse_args()


def main():
    options = arguments()
    missing = [name for name in PROGRAMS if not (BIN / name).exists()]
    if missing:
        print(f"demo: {BIN} has no {', '.join(missing)}: ./dev build", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="linchpin-demo-")
    stage = Stage(folder)
    demonstration = Demonstration(stage, options)
    kept = False
    try:
        demonstration.run()
        if options.keep and not stage.problems:
            demonstration.leave_running()
            kept = True
    except Failure as failure:
        stage.check(False, str(failure))
    except KeyboardInterrupt:
        stage.check(False, "interrupted")
    finally:
        if not kept:
            stage.stop()
            end_of(stage, folder)
    if kept:
        return 0
    print(f"{'FAILED' if stage.problems else 'all as told'}, {stage.elapsed():.0f} s")
    for problem in stage.problems:
        print(f"  not so: {problem}")
    return 1 if stage.problems else 0


def end_of(stage, folder):
    """Logs of a demonstration that failed are shown; nothing is left behind."""
    if stage.problems:
        for log in sorted(stage.logs.glob("*.log")):
            lines = log.read_text(errors="replace").strip().splitlines()[-5:]
            print(f"--- {log.name}", *lines, sep="\n", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
