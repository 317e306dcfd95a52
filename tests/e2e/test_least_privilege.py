# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What the running programs have given up, as the kernel says it, and that they work without it."""

import os
import pathlib
import resource
import shutil
import subprocess
import tempfile
import urllib.request

import pytest

from deployment import BIN, DEADLINE, Deployment, copy_program, free_port, wait_for

SYS_PTRACE, DAC_READ_SEARCH = 1 << 19, 1 << 2
NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs other users: run as root")


def statuses(process):
    """/proc/PID/task/*/status of each thread, as dictionaries."""
    for task in pathlib.Path(f"/proc/{process.popen.pid}/task").iterdir():
        yield dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines()
                   if ":\t" in line)


def confined(process, keeps):
    threads = list(statuses(process))
    assert len(threads) > 1
    for thread in threads:
        assert thread["NoNewPrivs"] == "1"
        assert thread["Seccomp"] == "2"
        for which in ("CapEff", "CapPrm"):
            assert int(thread[which], 16) & ~keeps == 0, thread
        for which in ("CapInh", "CapAmb"):
            assert int(thread[which], 16) == 0, thread
        if os.geteuid() == 0:
            assert int(thread["CapBnd"], 16) & ~keeps == 0, thread
            assert int(thread["CapEff"], 16) == keeps, thread


def as_nobody(*args):
    return subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                           *map(str, args)], capture_output=True, text=True, timeout=DEADLINE,
                          stdin=subprocess.DEVNULL)


@pytest.fixture
def open_deployment():
    """In a folder that every user may pass: pytest's own is closed to others."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="linchpin-", dir="/tmp"))
    folder.chmod(0o755)
    made = Deployment(folder)
    made.start_ca()
    yield made
    made.stop()
    shutil.rmtree(folder)


def closed_program(deployment):
    """The operator's command, owned by nobody, where nobody else may look."""
    closed = deployment.folder / "closed"
    closed.mkdir()
    program = pathlib.Path(copy_program(BIN / "linchpin", closed / "client"))
    for path, mode in ((program, 0o500), (closed, 0o700)):
        os.chown(path, NOBODY, NOBODY)
        path.chmod(mode)
    return program


def test_no_thread_of_the_ca_has_a_capability_or_all_system_calls(ca):
    confined(ca.ca, keeps=0)
    wait_for("its word", lambda: "sandboxed capabilities=none" in ca.ca.text())


def test_the_agent_keeps_two_capabilities_and_not_all_system_calls(ca):
    confined(ca.join("one"), keeps=SYS_PTRACE | DAC_READ_SEARCH)


def test_neither_program_can_leave_a_core_or_be_looked_into(ca):
    for process in (ca.ca, ca.join("one")):
        pid = process.popen.pid
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        # What is not dumpable belongs to root in /proc; its memory is closed to its own user.
        assert pathlib.Path(f"/proc/{pid}/mem").stat().st_uid == 0


@root_only
def test_a_program_of_another_user_in_a_closed_directory_is_recognised(open_deployment):
    deployment = open_deployment
    agent = deployment.join("one")
    client = closed_program(deployment)
    deployment.identity("/web", f"unix:path:{client}")
    done = as_nobody(client, "--socket", f"unix://{deployment.socket('one')}", "fetch",
                     "--timeout", "30s")
    assert done.returncode == 0, done.stderr + agent.text()
    assert "spiffe://example.org/web" in done.stdout


@root_only
@pytest.mark.parametrize("lost", ["sys_ptrace", "dac_read_search"])
def test_each_kept_capability_is_needed_for_that(open_deployment, lost):
    """If this fails, the agent should no longer keep the capability."""
    deployment = open_deployment
    token = deployment.folder / "token"
    token.write_text(deployment.out("node", "token", "--ttl", "10m", "--node", "one") + "\n")
    left = "-all,+" + ({"sys_ptrace", "dac_read_search"} - {lost}).pop()
    deployment.start("linchpin-agent-one", [
        "setpriv", f"--bounding-set={left}", f"--inh-caps={left}",
        *deployment.agent_args("one", "--ca-pin", deployment.root_pin(), "--join-token-file",
                               token)])
    wait_for("the agent's socket", deployment.socket("one").exists)
    client = closed_program(deployment)
    deployment.identity("/by-user", f"unix:uid:{NOBODY}")
    deployment.identity("/by-path", f"unix:path:{client}")
    done = as_nobody(client, "--socket", f"unix://{deployment.socket('one')}", "fetch",
                     "--timeout", "30s")
    assert done.returncode == 0, done.stderr
    assert "spiffe://example.org/by-user" in done.stdout
    assert "spiffe://example.org/by-path" not in done.stdout


def test_an_ordinary_user_needs_no_capability(ca):
    """Of services of its own user the agent sees everything with none."""
    agent = ca.join("one")
    client = copy_program(BIN / "linchpin", ca.folder / "client")
    ca.identity("/web", f"unix:path:{client}")
    done = subprocess.run([client, "--socket", f"unix://{ca.socket('one')}", "fetch", "--timeout",
                           "30s"], capture_output=True, text=True, timeout=DEADLINE,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr + agent.text()


def test_without_the_sandbox_a_program_says_so(ca):
    port = free_port()
    ca.metrics = f"127.0.0.1:{port}"
    agent = ca.join("one", "--sandbox", "off")
    assert {thread["Seccomp"] for thread in statuses(agent)} == {"0"}
    wait_for("its warning", lambda: "without the whole sandbox" in agent.text())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE) as page:
        assert "linchpin_agent_sandboxed 0" in page.read().decode()


@pytest.mark.parametrize("program", ["linchpin-ca", "linchpin-agent"])
def test_an_unknown_mode_is_refused(program, tmp_path):
    done = subprocess.run([BIN / program, "run", "--data-dir", tmp_path / "d", "--trust-domain",
                           "example.org", "--sandbox", "sometimes",
                           *(["--ca", "127.0.0.1:1"] if program == "linchpin-agent" else [])],
                          capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 2
    assert "sandbox" in done.stderr and "required" in done.stderr
    assert not (tmp_path / "d").exists()
