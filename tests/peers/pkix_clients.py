# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Programs that know anchors and no pins, each asked whether it lets a chain in."""

import contextlib
import functools
import http.client
import pathlib
import socket
import ssl
import subprocess
import threading

import toolchains
from deployment import DEADLINE, Process, free_port, wait_for

REQUEST = b"GET / HTTP/1.0\r\n\r\n"
ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\nlet through"
PROGRAMS = {"openssl": ["openssl"], "gnutls": ["gnutls-cli", "gnutls-serv"], "curl": ["curl"],
            "nginx": ["nginx"], "python": [], "go": [], "java": []}
PLACES = ["/usr/sbin"]  # not on everybody's PATH
SPOKEN = {  # as the document calls them
    "Who dials": {"openssl": "openssl s_client", "gnutls": "gnutls-cli", "curl": "curl",
                  "python": "python ssl", "nginx": "nginx proxy_ssl", "go": "Go's crypto/tls",
                  "java": "Java's JSSE"},
    "Who serves": {"openssl": "openssl s_server", "gnutls": "gnutls-serv", "python": "python ssl",
                   "nginx": "nginx ssl_verify_client", "go": "Go's crypto/tls",
                   "java": "Java's JSSE"},
}


@functools.cache
def built(kind):
    """The beginning of a command line."""
    here = pathlib.Path(__file__).resolve().parent
    if kind == "go":
        return [toolchains.go(here / "verifiers")]
    return [toolchains.program("java"), "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp",
            toolchains.java(here / "java"), "Pkix"]


def certificate(context, material, chain):
    context.load_cert_chain(material.path(f"{chain}.chain"), material.path(f"{chain}.key"))


@contextlib.contextmanager
def listener(context):
    """Answers each request that comes through a handshake; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            while True:
                try:
                    raw, _ = server.accept()
                except OSError:
                    return
                with raw:
                    raw.settimeout(DEADLINE)
                    with contextlib.suppress(OSError):
                        with context.wrap_socket(raw, server_side=True) as tls:
                            tls.recv(4096)
                            tls.sendall(ANSWER)
                            tls.unwrap()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(DEADLINE)


def run(*args):
    """Exit code 0, and the answer was read."""
    done = subprocess.run([str(a) for a in args], input=REQUEST, capture_output=True,
                          timeout=DEADLINE)
    return done.returncode == 0 and b"let through" in done.stdout


# --- who dials a server, anchored at a file -------------------------------------------------------

def openssl_dials(anchors, port, _):
    return run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost",
               "-verify_hostname", "localhost", "-verify_return_error", "-CAfile", anchors,
               "-no-CApath", "-no-CAstore", "-quiet")


def gnutls_dials(anchors, port, _):
    return run("gnutls-cli", "--x509cafile", anchors, "--verify-hostname", "localhost", "--port",
               port, "127.0.0.1")


def curl_dials(anchors, port, _):
    return run("curl", "--silent", "--noproxy", "*", "--cacert", anchors, "--capath", "/nowhere",
               "--resolve", f"localhost:{port}:127.0.0.1", f"https://localhost:{port}/")


def python_dials(anchors, port, _):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(anchors)
    return asks(context, port)


def nginx_dials(anchors, port, folder):
    """As a proxy before a server that it verifies."""
    with nginx(folder, f"""
        location / {{
          proxy_pass https://127.0.0.1:{port};
          proxy_ssl_verify on;
          proxy_ssl_verify_depth 8;
          proxy_ssl_protocols TLSv1.2 TLSv1.3;
          proxy_ssl_name localhost;
          proxy_ssl_trusted_certificate {anchors};
        }}""") as front:
        connection = http.client.HTTPConnection("127.0.0.1", front, timeout=DEADLINE)
        connection.request("GET", "/")
        return connection.getresponse().status == 200


def go_dials(anchors, port, _):
    return run(*built("go"), "dial", anchors, port)


def java_dials(anchors, port, _):
    return run(*built("java"), "dial", anchors, port)


DIAL = {"openssl": openssl_dials, "gnutls": gnutls_dials, "curl": curl_dials,
        "python": python_dials, "nginx": nginx_dials, "go": go_dials, "java": java_dials}


def lets_server_in(kind, material, anchors, chain, folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(context, material, chain)
    with listener(context) as port:
        return DIAL[kind](material.path(f"{anchors}.anchors"), port, folder)


# --- who serves, and demands a certificate under a file of anchors --------------------------------

def asks(context, port):
    """Whether the server behind the port answers: in TLS 1.3 a handshake alone says nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as raw:
            with context.wrap_socket(raw, server_hostname="localhost") as tls:
                tls.sendall(REQUEST)
                answer = b""
                while part := tls.recv(4096):
                    answer += part
    except OSError:  # ssl.SSLError is one
        return False
    return answer.split(b"\r\n")[0].split(b" ")[1:2] == [b"200"]


@contextlib.contextmanager
def process(name, folder, port, *args):
    started = Process(name, args, folder)
    try:
        wait_for(f"{name} on its port", lambda: not started.alive() or answers(port))
        assert started.alive(), started.text()
        yield port
    finally:
        started.kill()
        started.output.close()


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def openssl_serves(material, anchors, folder):
    port = free_port()
    return process("s_server", folder, port, "openssl", "s_server", "-accept", f"127.0.0.1:{port}",
                   "-cert", material.path("genuine.pem"), "-key", material.path("genuine.key"),
                   "-cert_chain", material.path("issuer.pem"), "-CAfile", anchors, "-no-CApath",
                   "-no-CAstore", "-Verify", "8", "-verify_return_error", "-www")


def gnutls_serves(material, anchors, folder):
    port = free_port()
    return process("gnutls-serv", folder, port, "gnutls-serv", "--http", "--port", port,
                   "--x509certfile", material.path("genuine.chain"), "--x509keyfile",
                   material.path("genuine.key"), "--x509cafile", anchors, "--require-client-cert",
                   "--verify-client-cert")


def python_serves(material, anchors, _):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(context, material, "genuine")
    context.load_verify_locations(anchors)
    context.verify_mode = ssl.CERT_REQUIRED
    return listener(context)


def nginx_serves(material, anchors, folder):
    return nginx(folder, """
        location / { return 200 "let through"; }""", f""" ssl;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {material.path("genuine.chain")};
        ssl_certificate_key {material.path("genuine.key")};
        ssl_client_certificate {anchors};
        ssl_verify_client on;
        ssl_verify_depth 8""")


def built_serves(kind, material, anchors, folder):
    port = free_port()
    return process(kind, folder, port, *built(kind), "serve", anchors,
                   material.path("genuine.chain"), material.path("genuine.key"), port)


SERVE = {"openssl": openssl_serves, "gnutls": gnutls_serves, "python": python_serves,
         "nginx": nginx_serves, "go": functools.partial(built_serves, "go"),
         "java": functools.partial(built_serves, "java")}


def lets_clients_in(kind, material, anchors, chains, folder):
    """By chain: all are shown to the same running server."""
    said = {}
    with SERVE[kind](material, material.path(f"{anchors}.anchors"), folder) as port:
        for chain in chains:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(material.path("root.anchors"))
            certificate(context, material, chain)
            said[chain] = asks(context, port)
    return said


def nginx(folder, location, listen=""):
    port = free_port()
    folder = pathlib.Path(folder)
    configuration = folder / "nginx.conf"
    configuration.write_text(f"""
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/t1;
  proxy_temp_path {folder}/t2;
  fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4;
  scgi_temp_path {folder}/t5;
  server {{
        listen 127.0.0.1:{port}{listen};{location}
  }}
}}
""")
    return process("nginx", folder, port, toolchains.program("nginx", *PLACES), "-p", folder, "-c",
                   configuration)
