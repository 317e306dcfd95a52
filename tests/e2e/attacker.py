# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Whoever owns the CA's machine: its process, its store and its keys."""

import socket
import sqlite3
import ssl
import subprocess
import threading

import deployment


def run(*args, stdin=None):
    done = subprocess.run(list(map(str, args)), input=stdin, capture_output=True,
                          timeout=deployment.DEADLINE)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


# Protobuf's wire format, as little of it as is needed: an attacker needs no library.
def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def fields(message):
    """(number, value) of each field; numbers as int, the rest as bytes."""
    at, out = 0, []

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(message):
        tag = number()
        value = number()
        if tag & 7 == 2:
            value, at = message[at:at + value], at + value
        out.append((tag >> 3, value))
    return out


def message(entries):
    out = b""
    for number, value in entries:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def changed(entries, number, value):
    """`entries` with the field replaced, or added."""
    return [e for e in entries if e[0] != number] + [(number, value)]


class Key:
    """An EC key in a PEM file."""

    def __init__(self, path):
        self.path = path
        if not path.exists():
            run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-out", path)
        self.spki = run("openssl", "pkey", "-in", path, "-pubout", "-outform", "DER")
        self.pin = run("openssl", "dgst", "-sha256", "-binary", stdin=self.spki)

    def sign(self, data):
        return run("openssl", "dgst", "-sha256", "-sign", self.path, stdin=data)


def signed(payload, keys, separator=b"linchpin pin set v1\n"):
    """A SignedPinSet or SignedRelax."""
    signatures = [(2, message([(1, key.pin), (2, key.sign(separator + payload))])) for key in keys]
    return message([(1, payload), *signatures])


class Store:
    """The CA's store, while the CA does not run."""

    def __init__(self, path):
        self.path = path

    def read(self, key):
        with sqlite3.connect(self.path) as db:
            return db.execute("SELECT value FROM records WHERE key = ?", (key.encode(),)
                              ).fetchone()[0]

    def keys(self, prefix):
        with sqlite3.connect(self.path) as db:
            rows = db.execute("SELECT key FROM records WHERE value IS NOT NULL").fetchall()
        return [bytes(k).decode() for (k,) in rows if bytes(k).decode().startswith(prefix)]

    def write(self, key, value):
        with sqlite3.connect(self.path) as db:
            db.execute("UPDATE meta SET value = value + 1 WHERE name = 'head'")
            revision = db.execute("SELECT value FROM meta WHERE name = 'head'").fetchone()[0]
            db.execute("INSERT OR REPLACE INTO records (key, value, revision) VALUES (?, ?, ?)",
                       (key.encode(), value, revision))

    # The record "trust": epoch = 1, pin sets = 2, relax = 3.
    def trust(self):
        return fields(self.read("trust"))

    def write_trust(self, entries):
        """With the next epoch, so that nodes look at it."""
        epoch = dict(self.trust()).get(1, 0) + 1
        self.write("trust", message(sorted(changed(entries, 1, epoch), key=lambda e: e[0])))


CONFIG = """
[req]
distinguished_name = dn
prompt = no
[dn]
O = Mallory
CN = {name}
[ext]
basicConstraints = critical, CA:TRUE{path}
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
{aki}
subjectAltName = URI:spiffe://example.org
"""


def certificate(folder, name, key, ca=None):
    """DER of a CA certificate: self-signed, or an issuer under `ca`, a pair (PEM file, Key)."""
    config = folder / f"{name}.cnf"
    config.write_text(CONFIG.format(name=name, path=", pathlen:0" if ca else "",
                                    aki="authorityKeyIdentifier = keyid" if ca else ""))
    pem = folder / f"{name}.pem"
    if ca is None:
        run("openssl", "req", "-x509", "-new", "-key", key.path, "-config", config, "-extensions",
            "ext", "-days", "30", "-out", pem)
    else:
        request = folder / f"{name}.csr"
        run("openssl", "req", "-new", "-key", key.path, "-config", config, "-out", request)
        run("openssl", "x509", "-req", "-in", request, "-CA", ca[0], "-CAkey", ca[1].path,
            "-CAcreateserial", "-extfile", config, "-extensions", "ext", "-days", "20", "-out", pem)
    return run("openssl", "x509", "-in", pem, "-outform", "DER")


LEAF = """
[dn]
[req]
distinguished_name = dn
[ext]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = URI:{id}
"""


def leaf(folder, name, spiffe_id, issuer):
    """(chain, key): files of a service's certificate under `issuer`, a pair (PEM file, Key)."""
    key, config = Key(folder / f"{name}.key"), folder / f"{name}.cnf"
    config.write_text(LEAF.format(id=spiffe_id))
    request, chain = folder / f"{name}.csr", folder / f"{name}-chain.pem"
    run("openssl", "req", "-new", "-key", key.path, "-subj", f"/O=Mallory/CN={name}", "-config",
        config, "-out", request)
    made = run("openssl", "x509", "-req", "-in", request, "-CA", issuer[0], "-CAkey",
               issuer[1].path, "-set_serial", "0x1234567890", "-extfile", config, "-extensions",
               "ext", "-days", "1")
    chain.write_bytes(made + issuer[0].read_bytes())
    return chain, key.path


class Impostor:
    """Answers on a port, with a certificate that nobody asked for."""

    def __init__(self, chain, key):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.load_cert_chain(chain, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                raw = self.listener.accept()[0]
            except OSError:
                return  # closed
            try:
                raw.settimeout(deployment.DEADLINE)
                with self.context.wrap_socket(raw, server_side=True) as connection:
                    connection.sendall(connection.recv(1))
            except OSError:
                pass  # refused, as it should be

    def close(self):
        self.listener.close()


# What the CA's machine gives away. An issuer, or root, is a pair (PEM file, Key).
def stolen_root(world):
    record = next(k for k in world.store.keys("authority/root/"))
    pem = world.ca.folder / "true-root.pem"
    pem.write_bytes(run("openssl", "x509", "-inform", "DER",
                        stdin=dict(fields(world.store.read(record)))[2]))
    return pem, Key(world.ca.ca_dir / "keys" / "root-1.pem")


def stolen_issuer(world):
    """The active issuer."""
    for name in world.store.keys("authority/issuer/"):
        record = dict(fields(world.store.read(name)))
        if record[1] == b"active":
            pem = world.ca.folder / "stolen-issuer.pem"
            pem.write_bytes(run("openssl", "x509", "-inform", "DER", stdin=record[2]))
            return pem, Key(world.ca.ca_dir / "keys" / f"{record[3].decode()}.pem")
    raise AssertionError("no active issuer")


def issuer_under(world, name, root):
    """One of the attacker's own, under a root."""
    key = Key(world.ca.folder / f"{name}.key")
    certificate(world.ca.folder, name, key, root)
    return world.ca.folder / f"{name}.pem", key
