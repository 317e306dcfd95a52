# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""A thief of the root's key: certifies an issuer of its own and, with it, a false payments."""

import subprocess

from stage import Failure

ISSUER = """basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""
LEAF = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=URI:{id}
"""


def openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failure(f"openssl {args[0]}: {done.stderr.strip()}")


def certify(folder, name, extensions, ca, ca_key, subject=None):
    """-> (certificate, key), made by OpenSSL alone."""
    key, request = folder / f"{name}.key", folder / f"{name}.csr"
    certificate, wanted = folder / f"{name}.pem", folder / f"{name}.ext"
    wanted.write_text(extensions)
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", key, "-out", request, "-subj", subject or f"/O=Rogue/CN={name}")
    openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-days", "1", "-sha256",
            "-set_serial", f"0x{len(name)}7", "-extfile", wanted, "-out", certificate)
    return certificate, key


def serve(stage, port, spiffe_id, root_pem, root_key):
    """A TLS server with a valid chain to the true root, by an issuer that nobody pinned."""
    folder = stage.make("rogue")
    root = folder / "root.pem"
    root.write_text(root_pem)
    issuer, issuer_key = certify(folder, "issuer", ISSUER, root, root_key)
    leaf, leaf_key = certify(folder, "leaf", LEAF.format(id=spiffe_id), issuer, issuer_key)
    openssl("verify", "-x509_strict", "-CAfile", root, "-untrusted", issuer, leaf)
    return stage.start("rogue", ["openssl", "s_server", "-tls1_3", "-accept", f"127.0.0.1:{port}",
                                 "-cert", leaf, "-key", leaf_key, "-cert_chain", issuer, "-quiet"])
