# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A company's own CA, kept offline: the openssl command alone, none of our code."""

import subprocess

EXTENSIONS = {
    "basicConstraints": "critical,CA:TRUE,pathlen:0",
    "keyUsage": "critical,keyCertSign,cRLSign",
    "subjectKeyIdentifier": "hash",
    "authorityKeyIdentifier": "keyid",
}
ROOT_EXTENSIONS = {
    "basicConstraints": "critical,CA:TRUE",
    "keyUsage": "critical,keyCertSign,cRLSign",
    "subjectKeyIdentifier": "hash",
}
P384 = ("EC", "-pkeyopt", "ec_paramgen_curve:P-384")


def openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True,
                          timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"openssl {' '.join(map(str, args))}: {done.stderr}"
    return done.stdout


class CompanyCa:
    def __init__(self, folder, name="Example Corp Root", key=P384, days=3650, extensions=None,
                 digest="-sha384"):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key = folder / "root.key"
        self.root = folder / "root.pem"
        openssl("genpkey", "-algorithm", *key, "-out", self.key)
        request = folder / "root.csr"
        openssl("req", "-new", "-key", self.key, "-subj", f"/O=Example Corp/CN={name}",
                "-out", request)
        openssl("x509", "-req", "-in", request, "-signkey", self.key, "-days", days, digest,
                "-extfile", self.section("root", {**ROOT_EXTENSIONS, **(extensions or {})}),
                "-extensions", "wanted", "-out", self.root)

    def section(self, name, extensions):
        path = self.folder / f"{name}.cnf"
        lines = [f"{key} = {value}" for key, value in extensions.items() if value]
        path.write_text("\n".join(["[wanted]", *lines, ""]))
        return path

    def certify(self, request, out, *args, days=90, extensions=None, subject=None):
        """What `openssl x509 -req` makes of a request; an extension that is None is left out."""
        wanted = {**EXTENSIONS, **(extensions or {})}
        if subject:
            args = ("-subj", subject, *args)
        openssl("x509", "-req", "-in", request, "-CA", self.root, "-CAkey", self.key,
                "-CAcreateserial", "-days", days, "-extfile", self.section(out.stem, wanted),
                "-extensions", "wanted", "-out", out, *args)
        return out
