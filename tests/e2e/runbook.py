# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The commands of a runbook, as it shows them, so that a test runs what an operator will type.

Each block of commands in docs/runbooks/NAME.md begins with ```sh LABEL. What differs from one
deployment to the next is a shell variable in it, such as "$NODE"; files are relative names.

    RUNBOOK = Runbook("fail-over")
    RUNBOOK.run("check", deployment)
    RUNBOOK.run("leave out", deployment, NODE="web-7")
    ...
    def test_each_command_of_the_runbook_was_run():   # the module's last
        RUNBOOK.each_was_run()
"""

import os
import re
import subprocess

from deployment import BIN, DEADLINE, ROOT

BLOCK = re.compile(r"^```sh[ \t]*([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Runbook:
    def __init__(self, name):
        self.path = ROOT / "docs/runbooks" / f"{name}.md"
        self.blocks = {}
        for label, commands in BLOCK.findall(self.path.read_text()):
            assert label, f"{self.path}: a block has no label, so no test can run it:\n{commands}"
            assert label not in self.blocks, f"{self.path}: two blocks are called {label}"
            self.blocks[label] = commands
        assert self.blocks, f"{self.path} has no commands"
        self.was_run = set()

    def run(self, label, deployment, check=True, **variables):
        """Runs the block in the deployment's folder, as the operator at its admin socket."""
        assert label in self.blocks, f"{self.path} has no block {label}; it has {[*self.blocks]}"
        self.was_run.add(label)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.blocks[label]], capture_output=True, text=True,
            timeout=DEADLINE, stdin=subprocess.DEVNULL, cwd=deployment.folder,
            env={**os.environ, **{name: str(value) for name, value in variables.items()},
                 "PATH": f"{BIN}:{os.environ['PATH']}",
                 "LINCHPIN_ADMIN_SOCKET": str(deployment.admin)})
        if check and done.returncode != 0:
            raise AssertionError(f"{self.path}, {label}:\n{self.blocks[label]}"
                                 f"{done.stdout}{done.stderr}")
        return done

    def each_was_run(self):
        left = set(self.blocks) - self.was_run
        assert not left, f"{self.path}: no test has run {sorted(left)}"
