# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""The root is a company's own, kept offline: made and used by openssl, never seen by the CA."""

import base64
import hashlib
import http.client
import json
import subprocess
import threading

import pytest
from company_ca import CompanyCa
from deployment import BIN, DEADLINE, free_port, wait_for
from runbook import Runbook
from test_first_contact import publish
from test_rotation import SHORT_LIVES, Mesh, sign_and_publish

RUNBOOK = Runbook("offline-root")

EXTERNAL = SHORT_LIVES + "  root: external\n"


def der_of(pem):
    return subprocess.run(["openssl", "x509", "-in", pem, "-outform", "DER"],
                          capture_output=True, check=True).stdout


class Offline:
    """A CA that waits at its first start, and the company's CA."""

    def __init__(self, deployment, config=EXTERNAL):
        self.deployment = deployment
        self.company = CompanyCa(deployment.folder / "company")
        self.config = deployment.folder / "ca.yaml"
        self.config.write_text(config)

    def start(self):
        self.deployment.ca = self.deployment.start(
            "linchpin-ca", self.deployment.ca_args("--config", self.config))
        wait_for("the CA that waits", lambda: self.csr(check=False).returncode == 0 or
                 not self.deployment.ca.alive())
        assert self.deployment.ca.alive(), self.deployment.ca.text()

    def start_either_way(self):
        """True if it serves, False if it waits."""
        self.deployment.ca = self.deployment.start(
            "linchpin-ca", self.deployment.ca_args("--config", self.config))
        wait_for("the CA", lambda: self.csr(check=False).returncode == 0 or
                 self.deployment.ca_answers())
        return self.deployment.ca_answers()

    def csr(self, *args, check=True):
        return self.deployment.run("ca", "csr", *args, check=check)

    def certify(self, name="requests", company=None):
        """All that is asked for: the files to import."""
        folder = self.deployment.folder / name
        self.csr("--out", folder)
        return [(company or self.company).certify(request, request.with_suffix(".pem"))
                for request in sorted(folder.glob("*.csr"))]

    def import_(self, *files, check=True):
        return self.deployment.run("ca", "import", *files, check=check)

    def key_files(self):
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for path in (self.deployment.ca_dir / "keys").iterdir()}


class OfflineMesh(Mesh):
    offline = None

    def start_ca(self):
        if self.offline is not None:
            return super().start_ca()
        self.offline = Offline(self.deployment, self.config.read_text())
        self.offline.start()
        self.offline.import_(*self.offline.certify(), self.offline.company.root)
        return None


@pytest.fixture
def waiting(deployment):
    made = Offline(deployment)
    made.start()
    return made


@pytest.fixture
def mesh(deployment):
    return OfflineMesh(deployment, EXTERNAL)


def test_a_first_start_waits_for_the_company_and_then_services_talk(mesh):
    mesh.nothing_was_refused()
    shown = mesh.deployment.out("ca", "pins").splitlines()
    assert "root" in shown[0] and "key elsewhere" in shown[0]
    assert "Example Corp Root" in shown[0]
    anchors = mesh.deployment.json("bundle", "show")["anchors"]
    assert [base64.b64decode(anchor) for anchor in anchors] == [der_of(mesh.offline.company.root)]
    first = json.loads(mesh.deployment.out("log", "tail", "--changes", "-o", "json")
                       .splitlines()[0])
    assert "ImportCertificates" in json.dumps(first) and "unix:" in json.dumps(first)
    asked = [record["before"] for record in first["records"]
             if record["object"].startswith("awaited")]
    assert len(asked) == 2 and all("issuer-" in before for before in asked), first
    mesh.deployment.out("log", "verify")
    assert set(mesh.offline.key_files()) == {"issuer-1.pem", "issuer-2-backup.pem"}


def test_a_ca_that_waits_keeps_its_keys_and_requests_though_it_is_killed(waiting):
    deployment = waiting.deployment
    asked, keys = waiting.csr().stdout, waiting.key_files()
    for _ in range(3):
        deployment.ca.kill()
        waiting.start()
        assert waiting.csr().stdout == asked
        assert waiting.key_files() == keys
    waiting.import_(*waiting.certify(), waiting.company.root)
    pins = deployment.out("ca", "pins")
    assert deployment.join("a").alive()
    wait_for("the agent", lambda: "1 of 1" in deployment.run("coverage", check=False).stdout)
    deployment.ca.kill()
    deployment.start_ca("--config", waiting.config)
    assert deployment.out("ca", "pins") == pins


def test_a_ca_killed_while_it_imports_has_taken_all_or_nothing(waiting):
    deployment, files = waiting.deployment, [*waiting.certify(), waiting.company.root]
    asked = {one["spkiSha256"] for one in deployment.json("ca", "csr")["certificates"]}
    pause, serves = threading.Event(), False
    for milliseconds in (0, 5, 10, 15, 20, 30, 50, 100, 200, 400):
        command = [*deployment.command(), "ca", "import", *map(str, files)]
        importing = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
        pause.wait(milliseconds / 1000)  # somewhere in the import
        deployment.ca.kill()
        importing.kill()
        importing.wait()
        serves = waiting.start_either_way()
        if serves:
            break
        assert {one["spkiSha256"] for one in deployment.json("ca", "csr")["certificates"]} == asked
    if not serves:
        waiting.import_(*files)
    authorities = deployment.json("ca", "pins")["authorities"]
    assert {one["spkiSha256"] for one in authorities if one["kind"] == "issuer"} == asked
    assert deployment.join("a").alive()
    wait_for("the agent", lambda: "1 of 1" in deployment.run("coverage", check=False).stdout)


def test_a_ca_that_waits_says_what_to_run_and_serves_nothing_else(waiting):
    deployment = waiting.deployment
    for command in (("ca", "pins"), ("node", "token"), ("rotate", "status"), ("log", "tail")):
        refused = deployment.run(*command, check=False)
        assert refused.returncode == 1
        assert "linchpin ca csr" in refused.stderr and "linchpin ca import" in refused.stderr
    assert "linchpin ca csr" in deployment.ca.text()
    listed = deployment.json("ca", "csr")
    assert listed["firstStart"] and len(listed["certificates"]) == 2
    requests = waiting.csr().stdout
    assert "active issuer" in requests and "backup issuer" in requests
    text = subprocess.run(["openssl", "req", "-noout", "-text", "-verify"], input=requests,
                          capture_output=True, text=True, check=True).stdout
    assert "CA:TRUE, pathlen:0" in text and "spiffe://example.org" in text
    deployment.ca.popen.terminate()
    assert deployment.ca.wait() == 0


def test_readiness_says_what_is_waited_for(deployment):
    deployment.ca_metrics = f"127.0.0.1:{free_port()}"
    offline = Offline(deployment)
    offline.start()

    def readiness():
        connection = http.client.HTTPConnection(deployment.ca_metrics, timeout=DEADLINE)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().read().decode()
        except OSError:
            return ""

    assert "linchpin ca import" in wait_for("the readiness page", readiness)
    offline.import_(*offline.certify(), offline.company.root)
    wait_for("readiness", lambda: "linchpin ca import" not in (readiness() or "linchpin ca import"))


def test_another_kind_of_root_is_refused_while_it_waits(waiting):
    waiting.deployment.ca.kill()
    done = subprocess.run(
        waiting.deployment.ca_args("--config", waiting.config, "--authority-root", "generate"),
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "authority.root" in done.stderr


def test_an_issuer_is_rotated_by_import_under_traffic_though_the_ca_is_killed(mesh):
    deployment, old = mesh.deployment, mesh.active_issuer()["spkiSha256"]
    mesh.rotate("prepare", "--what", "issuer")
    assert mesh.status()["step"] == "AWAITING_CERTIFICATE"
    shown = mesh.rotate("status").stdout
    for said in ("kept offline", "linchpin ca csr", "linchpin ca import", "Example Corp Root"):
        assert said in shown, shown
    asked = mesh.offline.csr().stdout
    deployment.ca.kill()
    mesh.start_ca()
    assert mesh.offline.csr().stdout == asked
    early = mesh.rotate("distribute", check=False)
    assert early.returncode == 1 and "rotate status" in early.stderr
    files = mesh.offline.certify("rotation")
    one_alone = mesh.offline.import_(files[0], check=False)
    assert one_alone.returncode == 1 and "missing" in one_alone.stderr, one_alone.stderr
    mesh.offline.import_(*files)
    assert mesh.status()["step"] == "PREPARED"
    assert "already" in mesh.offline.import_(*files).stdout
    mesh.rotate("distribute", "--wait")
    mesh.rotate("activate")
    new = mesh.active_issuer()["spkiSha256"]
    assert new != old
    mesh.rotate("drain", "--wait")
    assert mesh.served_by("a") == mesh.served_by("b") == new
    mesh.rotate("drop", "--wait")
    wait_for("the end", lambda: mesh.status()["step"] == "DONE")
    mesh.nothing_was_refused()


def test_a_rotation_that_waits_is_taken_back_and_its_keys_are_deleted(mesh):
    before = mesh.offline.key_files()
    mesh.rotate("prepare", "--what", "issuer")
    assert len(mesh.offline.key_files()) == len(before) + 2
    mesh.rotate("abort")
    assert mesh.status()["step"] == "ABORTED"
    nothing = mesh.offline.csr(check=False)
    assert nothing.returncode == 1 and "rotate prepare" in nothing.stderr
    wait_for("the keys to go", lambda: mesh.offline.key_files() == before)
    mesh.nothing_was_refused()


def test_a_backup_kept_apart_is_certified_by_the_company_and_takes_over(mesh):
    deployment, old = mesh.deployment, mesh.active_issuer()["spkiSha256"]
    key = deployment.folder / "backup.key"
    create = ("ca", "backup", "create", "--out", key)
    asked = deployment.run(*create).stdout
    assert "linchpin ca csr" in asked and "linchpin ca import" in asked
    assert deployment.run(*create).stdout == asked
    folder = deployment.folder / "backup"
    mesh.offline.csr("--out", folder)
    [request] = folder.glob("backup-*.csr")
    bad = mesh.offline.company.certify(request, folder / "bad.pem",
                                       extensions={"authorityKeyIdentifier": "none"})
    refused = mesh.offline.import_(bad, check=False)
    assert refused.returncode == 1 and "authority key identifier" in refused.stderr
    [certificate] = mesh.offline.certify("backup")
    mesh.offline.import_(certificate)
    assert "next: linchpin failover --check" in deployment.run(*create).stdout
    wait_for("all to trust the backup",
             lambda: deployment.run("failover", "--check", check=False).returncode == 0)
    deployment.out("failover", "--key", key)
    new = mesh.active_issuer()["spkiSha256"]
    assert new != old
    wait_for("what it signs", lambda: mesh.served_by("a") == mesh.served_by("b") == new)
    mesh.nothing_was_refused()


@pytest.mark.parametrize("first", ["external", "generate"])
def test_a_root_comes_by_import_under_traffic(deployment, first):
    """From another external one, or from one that the CA has made."""
    mesh = Mesh(deployment) if first == "generate" else OfflineMesh(deployment, EXTERNAL)
    if first == "generate":
        mesh.config.write_text(EXTERNAL)
        deployment.ca.kill()
        mesh.start_ca()
    key, old_root = publish(deployment, deployment.folder), deployment.root_pin()
    offline = mesh.offline if first == "external" else Offline(deployment)
    company = CompanyCa(deployment.folder / "another", name="Example Corp Root 2")
    mesh.rotate("prepare", "--what", "root")
    assert mesh.status()["step"] == "AWAITING_CERTIFICATE"
    files = offline.certify("rotation", company)
    refused = offline.import_(*files, check=False)
    assert refused.returncode == 1 and "root's own certificate" in refused.stderr
    offline.import_(*files, company.root)
    mesh.rotate("abort")  # and the same root again, whose record is there as retired
    mesh.rotate("prepare", "--what", "root")
    offline.import_(*offline.certify("again", company), company.root)
    assert mesh.status()["step"] == "PREPARED"
    sign_and_publish(mesh, key)
    assert len(deployment.json("bundle", "show")["anchors"]) == 2
    mesh.rotate("activate", "--wait")
    mesh.rotate("drain", "--wait")
    mesh.rotate("drop")
    sign_and_publish(mesh, key)
    wait_for("the end", lambda: mesh.status()["step"] == "DONE")
    assert deployment.root_pin() != old_root
    assert "Example Corp Root 2" in deployment.out("ca", "pins").splitlines()[0]
    mesh.nothing_was_refused()


def test_a_private_key_is_not_even_sent(waiting):
    company = waiting.company
    refused = waiting.import_(*waiting.certify(), company.root, company.key, check=False)
    assert refused.returncode == 1 and "root.key holds a private key" in refused.stderr
    assert "not taken" not in waiting.deployment.ca.text()


def test_all_goes_as_the_runbook_says(deployment):
    offline = Offline(deployment)
    offline.company = CompanyCa(deployment.folder)
    offline.start()
    first = {"DIR": "first-start", "PURPOSE": "first-start"}
    RUNBOOK.run("requests", deployment)
    RUNBOOK.run("files", deployment, **first)
    RUNBOOK.run("certify", deployment, **first)
    RUNBOOK.run("import with the root", deployment, **first)
    assert "key elsewhere" in RUNBOOK.run("see", deployment).stdout
    deployment.join("a")
    wait_for("the agent", lambda: "1 of 1" in deployment.run("coverage", check=False).stdout)
    again = {"DIR": "rotation-1", "PURPOSE": "rotation"}
    assert "awaiting_certificate" in RUNBOOK.run("prepare", deployment).stdout
    RUNBOOK.run("give up", deployment)
    RUNBOOK.run("prepare", deployment)
    RUNBOOK.run("files", deployment, **again)
    RUNBOOK.run("certify", deployment, **again)
    RUNBOOK.run("import", deployment, **again)
    RUNBOOK.run("go on", deployment)
    wait_for("the end", lambda: deployment.json("rotate", "status")["step"] == "DONE")
    apart = {"DIR": "backup", "PURPOSE": "backup"}
    RUNBOOK.run("backup", deployment)
    RUNBOOK.run("files", deployment, **apart)
    RUNBOOK.run("certify", deployment, **apart)
    RUNBOOK.run("import", deployment, **apart)
    RUNBOOK.run("finish the backup", deployment)
    wait_for("all to trust the backup",
             lambda: deployment.run("failover", "--check", check=False).returncode == 0)


def test_requests_of_another_time_are_not_certified_with_those_that_are_awaited(mesh):
    folder = mesh.deployment.folder / "once"
    mesh.rotate("prepare", "--what", "issuer")
    mesh.offline.csr("--out", folder)
    asked = sorted(path.name for path in folder.iterdir())
    mesh.offline.csr("--out", folder)  # the same again is the same
    mesh.rotate("abort")
    mesh.rotate("prepare", "--what", "issuer")
    refused = mesh.offline.csr("--out", folder, check=False)
    assert refused.returncode == 1 and "a directory that does not exist" in refused.stderr
    assert sorted(path.name for path in folder.iterdir()) == asked
    apart = ("ca", "backup", "create", "--out", mesh.deployment.folder / "apart.key")
    mesh.deployment.out(*apart)
    said = mesh.offline.csr("--out", mesh.deployment.folder / "now")
    names = sorted(path.split("/")[-1][:-13] for path in said.stdout.split() if ".csr" in path)
    assert names == ["backup", "rotation-backup", "rotation-prepared"]
    assert "2 for the rotation" in said.stderr and "1 for a backup kept apart" in said.stderr


def test_each_command_of_the_runbook_was_run():
    RUNBOOK.each_was_run()
