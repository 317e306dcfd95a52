#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""./dev bench: every figure beside its floor, measured in the same run, and its target."""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import subprocess
import sys

import scenarios
import table


@dataclasses.dataclass
class How:
    """How much of everything; a figure is the median over the rounds."""
    rounds: int
    calls: int            # of 64 certificates, a round
    identities: int       # that come and go, a round
    connections: int      # one after the other, a round
    subscribers: int      # at once
    many_identities: int  # of one service
    starts: int           # of the agent
    agents: int           # connected to an idle CA
    fleet: int            # nodes that acknowledge a change
    changes: int          # that they acknowledge, one after the other
    rotation_life: int    # seconds, of certificates while an issuer is replaced
    idle: float           # seconds
    settle: float         # seconds, before memory or idleness is looked at
    micro_seconds: float  # for each of Google Benchmark's rows


FULL = How(rounds=5, calls=32, identities=200, connections=500, subscribers=1000,
           many_identities=1000, starts=10, agents=100, fleet=1000, changes=20, rotation_life=120,
           idle=30.0, settle=3.0, micro_seconds=0.2)
QUICK = How(rounds=1, calls=2, identities=5, connections=20, subscribers=20, many_identities=20,
            starts=1, agents=4, fleet=8, changes=2, rotation_life=8, idle=0.5, settle=0.1,
            micro_seconds=0.01)

MOST_AGENTS = 2000  # of one process that holds a key, a connection and a stream for each


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--quick", action="store_true",
                        help="shows that everything is measured; the figures mean little")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path,
                        help="write the figures there, too")
    parser.add_argument("name", nargs="?", metavar="NAME",
                        help="only this one of: " + ", ".join(names()))
    parser.add_argument("--only", metavar="NAME", help="the same")
    parser.add_argument("--agents", type=int, metavar="N",
                        help="nodes in fleet and rotation (1000)")
    asked = parser.parse_args()
    asked.name = asked.name or asked.only
    if asked.name and asked.name not in names():
        parser.error(f"no measurement '{asked.name}' ({', '.join(names())})")
    if asked.agents is not None and not 1 <= asked.agents <= MOST_AGENTS:
        parser.error(f"--agents: from 1 to {MOST_AGENTS}, and not {asked.agents}")
    return asked


def names():
    return [scenario.__name__ for scenario in scenarios.ALL]


def measure(asked):
    """(rows, {the name of what could not be measured: why})."""
    rows, failed = [], {}
    how = QUICK if asked.quick else FULL
    if asked.agents is not None:
        how = dataclasses.replace(how, fleet=asked.agents)
    for scenario in scenarios.ALL:
        name = scenario.__name__
        if asked.name not in (None, name):
            continue
        print(f"== {name}", file=sys.stderr, flush=True)
        try:
            rows += scenario(how)
        except (AssertionError, OSError, RuntimeError, subprocess.SubprocessError) as error:
            failed[name] = str(error)
            print(f"dev bench: {name} is not measured: {error}", file=sys.stderr)
    return rows, failed


def main():
    asked = arguments()
    before = os.getloadavg()[0]
    rows, failed = measure(asked)
    machine = {"quick": asked.quick, "cores": os.cpu_count(), "machine": platform.machine(),
               "kernel": platform.release(), "load_before": round(before, 2),
               "load_after": round(os.getloadavg()[0], 2), "failed": failed}
    document = json.dumps(table.document(rows, machine), indent=1, ensure_ascii=False)
    if asked.json:
        asked.json.write_text(document + "\n", encoding="utf-8")
    if asked.output == "json":
        print(document)
    else:
        print(table.text(rows))
        print(f"\nMedians; ± is half of the spread over the rounds. {machine['cores']} cores, load "
              f"{machine['load_before']} before and {machine['load_after']} after.")
        if before > 0.5:
            print("Other programs ran: figures of CPU and memory hold nevertheless, those of time "
                  "do not.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
