# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What is measured, each on programs of its own; every function returns rows of the table."""

import contextlib
import os
import re

from envoy import envoy
from measure import (BIN, Load, Samples, cpu_ns, deployment, fsync_ms, micro, pause, rss_kib,
                     wait_for)
from table import Row

UID = os.getuid()
WORKLOAD_API = ("--path", "/SpiffeWorkloadAPI/FetchX509SVID", "--header", "workload.spiffe.io",
                "--value", "true", "--least", 100)
ECHO = ("--path", "/bench.Echo/Echo", "--message", "x")


@contextlib.contextmanager
def node():
    """A CA and an agent that serves this user's processes one identity."""
    with deployment() as place:
        place.start_ca()
        place.agent = place.join("a")
        place.identity("/web", f"unix:uid:{UID}")
        wait_for("the first certificate", lambda: place.fetch("a").returncode == 0)
        yield place


def bare_server(place):
    """(the process, its socket) of a gRPC server that only echoes."""
    path = place.folder / "bare.sock"
    server = place.start("bare", [BIN / "linchpin-bench-bare", path])
    wait_for("the bare server", path.exists)
    return server, path


def towards_ca(place):
    return ("--admin-socket", place.admin, "--ca", f"127.0.0.1:{place.ca_port}")


def raw_p256(how):
    """µs of one verification and one signature by OpenSSL alone."""
    found = micro("^Raw(Verify|Sign)$", how)
    if len(found) < 2:
        return None
    return sum(of["cpu"].median for of in found.values())


def issuing(how):
    rows = [Row("issue_batch", "CA: a certificate, in batches of 64", "µs", "cpu",
                most_floors=2.0),
            Row("issue_single", "CA: a certificate a call, 8 callers", "µs", "cpu",
                most_floors=3.0)]
    floor = raw_p256(how)
    loads = [("--batch", 64, "--callers", 1, "--calls", how.calls),
             ("--batch", 1, "--callers", 8, "--calls", how.calls * 8)]
    for row, args in zip(rows, loads):
        row.floor, row.floor_name = floor, "P-256 verify + sign"
        row.missing = "" if floor else "linchpin-bench has no row for the floor"
        with deployment() as place:
            ca = place.start_ca()
            with Load("issue", *towards_ca(place), *args) as load:
                each = []
                for _ in range(how.rounds + 1):  # the first warms up
                    answer, (cpu,) = load.round([ca.popen.pid])
                    each.append(cpu / 1e3 / answer["certificates"])
                row.samples = Samples(each[1:])
    return rows


def identities(how):
    rows = {"created": Row("created", "identity created → certificate in the service, p99", "ms",
                           "wall", most=15.0),
            "deleted": Row("deleted", "identity deleted → the service told, p99", "ms", "wall",
                           most=15.0)}
    cpu = Row("come_and_go_cpu", "identity created and deleted, CPU of both", "ms", "cpu")
    with node() as place:
        disk = fsync_ms(place.folder, how.identities * how.rounds)
        with Load("identities", "--admin-socket", place.admin, "--socket", place.socket("a"),
                  "--count", how.identities) as load:
            pids = [place.ca.popen.pid, place.agent.popen.pid]
            rounds = [load.round(pids) for _ in range(how.rounds)]
    for key, row in rows.items():
        row.samples = Samples(answer[key]["p99"] / 1e3 for answer, _ in rounds)
        row.more["p50"] = Samples(answer[key]["p50"] / 1e3 for answer, _ in rounds)
        row.floor, row.floor_name = disk[len(disk) * 99 // 100], "one fsync, p99"
    cpu.samples = Samples(sum(ns) / 1e6 / how.identities for _, ns in rounds)
    cpu.more["CA"] = Samples(ns[0] / 1e6 / how.identities for _, ns in rounds)
    return [*rows.values(), cpu]


def first_context(how):
    wall = Row("first_context", "new connection → first context, p50", "ms", "wall", most=0.6)
    cpu = Row("first_context_cpu", "new connection → first context, agent's CPU", "ms", "cpu",
              most=0.3)
    with node() as place:
        bare, socket = bare_server(place)
        rounds = {}
        for name, args, process in [
                ("ours", ("--socket", place.socket("a"), "--least", 100), place.agent),
                ("bare", ("--socket", socket, *ECHO), bare)]:
            with Load("calls", *args, "--count", how.connections) as load:
                # Whom the last caller left is noticed a moment later.
                rounds[name] = [load.round([process.popen.pid], settle=how.settle)
                                for _ in range(how.rounds + 1)][1:]
    p50 = {name: Samples(answer["p50"] / 1e3 for answer, _ in of) for name, of in rounds.items()}
    each = {name: Samples(ns / 1e6 / how.connections for _, (ns,) in of)
            for name, of in rounds.items()}
    wall.samples, wall.floor = p50["ours"], p50["bare"].median
    wall.more["p99"] = Samples(answer["p99"] / 1e3 for answer, _ in rounds["ours"])
    cpu.samples, cpu.floor = each["ours"], each["bare"].median
    wall.floor_name = cpu.floor_name = "gRPC echo"
    return [wall, cpu]


def fetch_svid(how):
    """The SPIFFE Workload API."""
    new = Row("fetch_svid", "FetchX509SVID on a new connection, p50", "ms", "wall", most=0.6)
    new_cpu = Row("fetch_svid_cpu", "FetchX509SVID on a new connection, agent's CPU", "ms", "cpu",
                  most=0.3)
    kept = Row("fetch_svid_kept", "FetchX509SVID on a kept connection, agent's CPU", "µs", "cpu",
               most=120.0)
    each = Row("fetch_svid_memory", f"agent, per open FetchX509SVID stream of {how.subscribers}",
               "KiB", "memory", most=40.0)
    after = Row("fetch_svid_after", "agent, resident more after they closed, each", "KiB", "memory")
    with node() as place:
        bare, socket = bare_server(place)
        ours, echo = ("--socket", place.socket("a"), *WORKLOAD_API), ("--socket", socket, *ECHO)
        pid = place.agent.popen.pid
        rounds = {}
        for what in ("calls", "kept"):
            for name, args, process in (("ours", ours, pid), ("bare", echo, bare.popen.pid)):
                with Load(what, *args, "--count", how.connections) as load:
                    rounds[what, name] = [load.round([process], settle=how.settle)
                                          for _ in range(how.rounds + 1)][1:]
        before = rss_kib(pid)
        each.samples = Samples([per_subscriber(pid, place.socket("a"), how, *WORKLOAD_API)])
        pause(how.settle)
        after.samples = Samples([max(0, rss_kib(pid) - before) / how.subscribers])
        each.floor = per_subscriber(bare.popen.pid, socket, how, *ECHO)
    for row, what, unit in ((new_cpu, "calls", 1e6), (kept, "kept", 1e3)):
        cost = {name: Samples(ns / unit / how.connections for _, (ns,) in rounds[what, name])
                for name in ("ours", "bare")}
        row.samples, row.floor = cost["ours"], cost["bare"].median
    new.samples = Samples(answer["p50"] / 1e3 for answer, _ in rounds["calls", "ours"])
    new.more["p99"] = Samples(answer["p99"] / 1e3 for answer, _ in rounds["calls", "ours"])
    new.floor = Samples(answer["p50"] / 1e3 for answer, _ in rounds["calls", "bare"]).median
    for row in (new, new_cpu, kept, each):
        row.floor_name = "gRPC echo"
    return [new, new_cpu, kept, each, after]


def memory(how):
    """Of one agent: idle, with subscribers, after them, with many identities."""
    idle = Row("rss_idle", "agent, resident, idle", "MiB", "memory", most=25.0)
    each = Row("rss_subscriber", f"agent, per idle subscriber of {how.subscribers}", "KiB",
               "memory", most=40.0)
    after = Row("rss_after", "agent, resident, after they left", "MiB", "memory")
    many = Row("rss_identities", f"agent, resident, {how.many_identities} identities", "MiB",
               "memory", most=32.0)
    with node() as place:
        bare, socket = bare_server(place)
        for row in (idle, after, many):
            row.floor, row.floor_name = rss_kib(bare.popen.pid) / 1024, "bare gRPC server"
        pid = place.agent.popen.pid
        pause(how.settle)
        before = rss_kib(pid)
        idle.samples = Samples([before / 1024])
        each.samples = Samples([per_subscriber(pid, place.socket("a"), how)])
        each.floor = per_subscriber(bare.popen.pid, socket, how, *ECHO)
        each.floor_name = "gRPC echo"
        pause(how.settle)
        after.samples = Samples([rss_kib(pid) / 1024])
    with node() as place:
        pid = place.agent.popen.pid
        with Load("many", "--admin-socket", place.admin, "--socket", place.socket("a"), "--count",
                  how.many_identities) as load:
            load.prepared()
            pause(how.settle)
            many.samples = Samples([rss_kib(pid) / 1024])
    return [idle, many, each, after]


def per_subscriber(pid, socket, how, *args):
    before = rss_kib(pid)
    with Load("hold", "--socket", socket, "--count", how.subscribers, *args) as load:
        load.prepared()
        held = rss_kib(pid)
        load.round()
    return (held - before) / how.subscribers


def restart(how):
    row = Row("restart", "agent start → first certificate, CA down", "ms", "wall", most=60.0)
    cpu = Row("restart_cpu", "agent start → first certificate, its CPU", "ms", "cpu")
    with node() as place:
        pin = place.root_pin()
        place.ca.kill()
        place.agent.kill()
        rounds = {}
        for name, args, program in [
                ("ours", ("--socket", place.socket("a"), "--least", 100),
                 place.agent_args("a", "--ca-pin", pin)),
                ("bare", ("--socket", place.folder / "bare.sock", *ECHO),
                 [BIN / "linchpin-bench-bare", place.folder / "bare.sock"])]:
            with Load("start", *args, "--", *program) as load:
                rounds[name] = [load.round()[0] for _ in range(how.starts)]
    for kind, made in (("wall_us", row), ("cpu_us", cpu)):
        made.samples = Samples(answer[kind] / 1e3 for answer in rounds["ours"])
        made.floor = Samples(answer[kind] / 1e3 for answer in rounds["bare"]).median
        made.floor_name = "bare gRPC server"
    return [row, cpu]


def handshakes(how):
    rows = [Row("handshake_sdk", "mTLS handshake, both ends: two SDK peers", "µs", "cpu",
                most_floors=0.65),
            Row("handshake_foreign", "mTLS handshake, both ends: SDK and a foreign peer", "µs",
                "cpu", most_floors=0.85),
            Row("handshake_twin", "mTLS handshake, both ends: … anchored at a twin", "µs", "cpu",
                most_floors=0.85),
            Row("handshake_first", "mTLS handshake, both ends: … that is not remembered", "µs",
                "cpu")]
    found = micro("^Handshake", how)
    for of in found.values():
        # Each round at the speed that its own floor shows the machine to have had.
        usual = of["floor_us"].median
        of["here_us"] = Samples(here * usual / floor for here, floor in
                                zip(of["here_us"].values, of["floor_us"].values))
    for row, pattern in zip(rows, ("OfTwoSdkPeers", "WithAForeign", "WithATwinAnchored",
                                   "WithClientsThatAreNotRemembered")):
        named = [(of["here_us"].median / of["floor_us"].median, name) for name, of in found.items()
                 if name.startswith("Handshake" + pattern)]
        if not named:
            row.missing = "linchpin-bench has no such row"
            continue
        _, worst = max(named)
        row.samples, row.floor = found[worst]["here_us"], found[worst]["floor_us"].median
        row.floor_name = "plain OpenSSL"
        for _, name in sorted(named)[:-1]:  # whichever end is the foreign one: the worst counts
            spoken = re.sub("([A-Z])", r" \1", name.removeprefix("Handshake" + pattern)).strip()
            row.more[spoken.lower()] = found[name]["here_us"]
    return rows


def verdict(how):
    row = Row("verdict", "verdict beyond signatures", "µs", "cpu", most=5.0,
              floor_name="pin, names, policy")
    found = micro("^(VerdictOnAChainSeenBefore|PinNamesAndPolicyAlone)$", how)
    row.samples = found["VerdictOnAChainSeenBefore"]["cpu"]
    row.floor = found["PinNamesAndPolicyAlone"]["cpu"].median
    return [row]


def idle(how):
    agent = Row("idle_agent", "agent, idle", "% of a core", "cpu", most=0.05)
    ca = Row("idle_ca", f"CA with {how.agents} nodes connected, idle", "% of a core", "cpu",
             most=0.2)
    with node() as place:
        with Load("fleet", *towards_ca(place), "--count", how.agents) as load:
            load.prepared()
            pause(how.settle)
            processes = {agent: place.agent.popen.pid, ca: place.ca.popen.pid}
            before = {row: cpu_ns(pid) for row, pid in processes.items()}
            pause(how.idle)
            for row, pid in processes.items():
                row.samples = Samples([(cpu_ns(pid) - before[row]) / 1e9 / how.idle * 100])
    return [agent, ca]


def fleet(how):
    """The slowest round counts: nobody is to be left waiting."""
    known = Row("fleet", f"policy change → acknowledged by {how.fleet} nodes, slowest",
                "ms", "wall", most=300.0)
    trusted = Row("fleet_trust", f"signed pin set → in force on {how.fleet} nodes, slowest",
                  "ms", "wall", most=1000.0)
    each = Row("fleet_memory", "CA, resident, per connected node", "KiB", "memory")
    quiet = Row("fleet_quiet", "messages to a node while nothing changes", "", "wall", most=0.0)
    for row, flags in ((known, ()), (trusted, ("--trust",))):
        with deployment() as place:
            place.start_ca()
            before = rss_kib(place.ca.popen.pid)
            with Load("fleet", *towards_ca(place), "--count", how.fleet, *flags) as load:
                load.prepared()
                if row is known:
                    each.samples = Samples([(rss_kib(place.ca.popen.pid) - before) / how.fleet])
                pids = [place.ca.popen.pid, load.popen.pid]
                rounds, cpu = [], []
                for _ in range(how.changes):
                    answer, spent = load.round(pids)
                    rounds.append(answer)
                    cpu.append([ns / 1e6 for ns in spent])
                    pause(how.settle / 10)
        row.samples = Samples([max(answer["known_ms"] for answer in rounds)])
        row.more["usual"] = Samples(answer["known_ms"] for answer in rounds)
        row.more["sent"] = Samples(answer["sent_ms"] for answer in rounds)
        row.more["CPU of the CA"] = Samples(ca for ca, _ in cpu)
        if row is trusted:
            # Each verifies for itself, and all share this machine with the CA.
            row.floor = Samples(nodes / os.cpu_count() for _, nodes in cpu).median
            row.floor_name = "CPU of the nodes, on all cores"
            quiet.samples = Samples([sum(answer["unasked"] for answer in rounds) / how.fleet])
    return [known, trusted, quiet, each]


def rotation(how):
    """Of an issuer, from prepare to done: everything that the CA does meanwhile counts."""
    row = Row("rotation", f"an issuer replaced under {how.fleet} nodes with 10 services each",
              "s of the CA's CPU", "cpu", most=15.0)
    refused = Row("rotation_refused", "certificates that another node refused meanwhile", "",
                  "cpu", most=0.0)
    with deployment() as place:
        lives = f"{how.rotation_life}s"
        config = place.folder / "ca.yaml"
        config.write_text(f"authority:\n  node_ttl: {lives}\n  leaf_ttl: {lives}\n"
                          "  backdate: 0s\n", encoding="utf-8")
        ca = place.start_ca("--config", config)
        with Load("rotation", *towards_ca(place), "--count", how.fleet, "--life",
                  how.rotation_life) as load:
            answer, (cpu,) = load.round([ca.popen.pid])
    row.samples = Samples([cpu / 1e9])
    row.more["certificates"] = Samples([answer["certificates"]])
    row.more["took"] = Samples([answer["seconds"]])
    refused.samples = Samples([answer["refused"]])
    refused.more["of"] = Samples([answer["judged"] + answer["certificates"]])
    return [row, refused]


ALL = [issuing, identities, first_context, fetch_svid, memory, restart, handshakes, verdict, idle,
       fleet, rotation, envoy]
