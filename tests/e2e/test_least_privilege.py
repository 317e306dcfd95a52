# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What the running programs have given up, as the kernel says it, and that they work without it."""

import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request

import pytest

from deployment import BIN, DEADLINE, Deployment, copy_program, free_port, wait_for

# Sanitizers start programs, trace and make maps of their own: no filter, no closed memory.
SANITIZED = any(word in (BIN / "linchpin-agent").read_bytes() for word in
                (b"__asan_init", b"__tsan_init"))
unless_sanitized = pytest.mark.skipif(SANITIZED, reason="a build with sanitizers confines itself "
                                                        "less")
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


@unless_sanitized
def test_no_thread_of_the_ca_has_a_capability_or_all_system_calls(ca):
    confined(ca.ca, keeps=0)
    wait_for("its word", lambda: "sandboxed capabilities=none" in ca.ca.text())


@unless_sanitized
def test_the_agent_keeps_two_capabilities_and_not_all_system_calls(ca):
    confined(ca.join("one"), keeps=SYS_PTRACE | DAC_READ_SEARCH)


@unless_sanitized
def test_neither_program_can_leave_a_core_or_be_looked_into(ca):
    for process in (ca.ca, ca.join("one")):
        pid = process.popen.pid
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        # What is not dumpable belongs to root in /proc; its memory is closed to its own user.
        assert pathlib.Path(f"/proc/{pid}/mem").stat().st_uid == 0


@root_only
def test_the_ca_may_listen_on_a_low_port_if_told_so(deployment):
    deployment.ca_port = free_low_port()
    deployment.start_ca()
    wait_for("its word", lambda: "sandboxed" in deployment.ca.text())
    assert "capabilities=cap_net_bind_service" in deployment.ca.text()


def free_low_port():
    for port in range(700, 1024):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("every low port is taken")


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


def has_metrics(address):
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=DEADLINE) as page:
            return b"linchpin_agent_sandboxed" in page.read()
    except OSError:
        return False


def test_who_takes_the_metrics_port_stops_neither_program(deployment):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        deployment.metrics = deployment.ca_metrics = f"127.0.0.1:{squatter.getsockname()[1]}"
        deployment.start_ca()
        agent = deployment.join("one")
        deployment.identity("/web", f"unix:uid:{os.geteuid()}")
        done = deployment.fetch("one", "--timeout", "30s")
        assert done.returncode == 0, done.stderr + agent.text()
        for process in (deployment.ca, agent):
            assert "goes on without metrics" in process.text()
    # The agent tries again, so a port that is given back is used.
    wait_for("its metrics", lambda: has_metrics(deployment.metrics))


def test_what_a_killed_writer_left_of_a_key_is_removed(ca):
    agent = ca.join("one")
    private, keys = ca.agent_dir("one") / "private", ca.ca_dir / "keys"
    wait_for("its state", (private / "state.sealed").exists)
    agent.kill()
    ca.ca.kill()
    left = [folder / "x.pem.tmp.0123456789abcdef" for folder in (private, keys)]
    for path in left:
        path.write_text("half a key")
    ca.start_ca()
    ca.start_agent("one")
    wait_for("both to be removed", lambda: not any(path.exists() for path in left))


def test_a_service_manager_is_told_when_each_program_serves_and_when_it_ends(deployment):
    path = deployment.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(DEADLINE)
        manager.bind(str(path))
        for start in (deployment.start_ca, lambda: deployment.join("one")):
            deployment.env = {"NOTIFY_SOCKET": str(path)}
            process = start()
            assert manager.recv(100) == b"READY=1"
            process.kill(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            deployment.env = {}
            if process is deployment.ca:
                deployment.start_ca()
