# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What the kernel says of a process, and the programs that put load on it."""

import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from deployment import BIN, Deployment, wait_for  # noqa: E402,F401  pylint: disable=C0413


@contextlib.contextmanager
def deployment():
    """A place of its own for programs, which are stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="linchpin-bench-") as folder:
        made = Deployment(folder)
        try:
            yield made
        finally:
            made.stop()


def cpu_ns(pid):
    """CPU time of all threads of the process, also of those that have ended: its CPU clock."""
    return time.clock_gettime_ns((~pid << 3) | 2)  # CPUCLOCK_SCHED, see clock_getcpuclockid(3)


def rss_kib(pid):
    """Resident memory now, shared libraries included."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M).group(1))


def fsync_ms(folder, count):
    """Milliseconds of each of `count` appends of 4 KiB that are made durable."""
    took = []
    with open(pathlib.Path(folder) / "fsync", "ab", buffering=0) as file:
        for _ in range(count):
            begun = time.monotonic_ns()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            took.append((time.monotonic_ns() - begun) / 1e6)
    return sorted(took)


def pause(seconds):
    threading.Event().wait(seconds)


class Samples:
    """The values of several rounds: their median is the figure, their spread the noise."""

    def __init__(self, values):
        self.values = list(values)

    @property
    def median(self):
        return statistics.median(self.values)

    def spread(self):
        """Half of the distance between the lowest and the highest, as a part of the median."""
        return (max(self.values) - min(self.values)) / 2 / self.median if self.median else 0.0


class Load:
    """A running linchpin-bench-load."""

    def __init__(self, *args):
        self.popen = subprocess.Popen([str(BIN / "linchpin-bench-load"), *map(str, args)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.is_ready = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.popen.stdin.close()
        try:
            self.popen.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.popen.stdout.close()

    def answer(self):
        line = self.popen.stdout.readline()
        if not line:
            raise RuntimeError(f"linchpin-bench-load {self.popen.args[1]} ended with exit code "
                               f"{self.popen.wait()}")
        return json.loads(line)

    def prepared(self):
        if not self.is_ready:
            assert self.answer() == {"ready": True}
            self.is_ready = True

    def round(self, watched=(), settle=0.0):
        """(the answer, CPU nanoseconds of each watched process in the meantime and in the `settle`
        seconds after it)."""
        self.prepared()
        self.is_ready = False
        before = [cpu_ns(pid) for pid in watched]
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()
        answer = self.answer()
        pause(settle)
        return answer, [cpu_ns(pid) - was for pid, was in zip(watched, before)]


def micro(pattern, how):
    """Google Benchmark's rows: name -> {what: Samples}, one value a repetition, in µs. `cpu` is
    what it says; where a row measured its floor in between, `floor_us` is that, and `here_us` its
    own, by the same clock."""
    done = subprocess.run(
        [BIN / "linchpin-bench", f"--benchmark_filter={pattern}", "--benchmark_format=json",
         f"--benchmark_min_time={how.micro_seconds}", f"--benchmark_repetitions={how.rounds}",
         "--benchmark_enable_random_interleaving=true"],
        capture_output=True, text=True, check=True)
    scale = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}
    found = {}
    for row in json.loads(done.stdout or '{"benchmarks": []}')["benchmarks"]:
        if row["run_type"] != "iteration":
            continue
        values = found.setdefault(row["run_name"].split("/")[0], {})
        values.setdefault("cpu", []).append(row["cpu_time"] * scale[row["time_unit"]])
        for counter in ("here_us", "floor_us"):
            if counter in row:
                values.setdefault(counter, []).append(row[counter])
    return {name: {what: Samples(values) for what, values in of.items()}
            for name, of in found.items()}
