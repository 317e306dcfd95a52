# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Who changed what: each change has its record, also across crashes; operators and their roles."""

import json
import threading

from deployment import TRUST_DOMAIN, wait_for


def changes(deployment, *args):
    lines = deployment.out("log", "tail", "--changes", "-n", "100000", "-o", "json", *args)
    return [json.loads(line) for line in lines.splitlines()]


def test_every_change_says_who_what_before_and_after(ca):
    ca.identity("/web", "unix:uid:1")
    ca.run("identity", "update", f"spiffe://{TRUST_DOMAIN}/web", "--ttl", "30m")
    ca.run("identity", "delete", f"spiffe://{TRUST_DOMAIN}/web")
    created, updated, deleted = changes(ca)
    assert [c["method"] for c in (created, updated, deleted)] == [
        "CreateIdentity", "UpdateIdentity", "DeleteIdentity"]
    for change in (created, updated, deleted):
        assert change["who"].startswith("unix:") and change["role"] == "admin"
        assert change["from"].startswith("admin socket, pid ")
        assert f"spiffe://{TRUST_DOMAIN}/web" in change["records"][0]["object"]
    assert created["records"][0]["before"] == "" and deleted["records"][0]["after"] == ""
    assert '"ttl_seconds":1800' in updated["records"][0]["after"]
    assert "unix:uid" not in updated["records"][0]["after"], "only what differs"
    table = ca.out("log", "tail")
    assert "UpdateIdentity" in table and f"spiffe://{TRUST_DOMAIN}/linchpin/ca" in table
    refused = ca.run("identity", "delete", f"spiffe://{TRUST_DOMAIN}/web", check=False)
    assert refused.returncode == 1 and len(changes(ca)) == 3


def test_a_ca_killed_in_a_loop_of_changes_has_a_record_of_each_and_of_nothing_else(ca):
    for round_number in range(4):
        began = threading.Event()
        ended = threading.Event()

        def change():
            for i in range(1000):
                done = ca.run("identity", "create", "--id",
                              f"spiffe://{TRUST_DOMAIN}/r{round_number}/s{i}", "--selector",
                              "unix:uid:1", "--any-node", check=False)
                began.set()
                if ended.is_set() or done.returncode != 0:
                    return

        writers = [threading.Thread(target=change) for _ in range(2)]
        for writer in writers:
            writer.start()
        began.wait(60)
        threading.Event().wait(0.03 * round_number)
        ca.ca.kill()
        ended.set()
        for writer in writers:
            writer.join()
        ca.start_ca()
    made = {i["identityId"] for i in ca.json("identity", "list")["identities"]}
    recorded = [c["records"][0]["object"].split()[-1] for c in changes(ca)]
    assert made and len(recorded) == len(set(recorded))
    assert set(recorded) == made
    assert "changes, head" in ca.out("log", "verify")


def test_a_follower_is_shown_a_change_when_it_is_made(ca):
    follower = ca.start("follower", [*ca.command(), "log", "tail", "--changes", "--follow"])
    ca.identity("/web", "unix:uid:1")
    wait_for("the first change", lambda: "CreateIdentity" in follower.text())
    ca.run("identity", "delete", f"spiffe://{TRUST_DOMAIN}/web")
    wait_for("the next change", lambda: "DeleteIdentity" in follower.text())
