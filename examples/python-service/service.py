#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""An HTTPS service and its client, with Python's standard library alone.

  service.py serve DIRECTORY HOST:PORT SPIFFE-ID...   greets callers that have one of these IDs
  service.py get DIRECTORY URL SPIFFE-ID              asks a server that has this ID

DIRECTORY is what `linchpin fetch --write DIRECTORY --watch` keeps current, run as the same user.
"""

import http.client
import http.server
import os
import ssl
import sys
import threading
import urllib.parse


def spiffe_id(connection):
    """The ID that the peer's certificate bears; the chain has been verified."""
    names = connection.getpeercert().get("subjectAltName", ())
    ids = [name for kind, name in names if kind == "URI" and name.startswith("spiffe://")]
    return ids[0] if len(ids) == 1 else None


class Credentials:
    """Certificate, key and anchors of one generation: `current` is a link to the newest."""

    def __init__(self, directory, protocol):
        self.directory = directory
        self.protocol = protocol
        self.lock = threading.Lock()
        self.seen = None
        self.current = None

    def context(self):
        """For the next connection."""
        with self.lock:
            try:
                newest = os.path.realpath(f"{self.directory}/current", strict=True)
                if newest != self.seen:
                    self.current = self.load(newest)
                    self.seen = newest
            except FileNotFoundError:  # replaced meanwhile: the old ones serve once more
                if self.current is None:
                    raise
            return self.current

    def load(self, generation):
        context = ssl.SSLContext(self.protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # the SPIFFE ID is what is checked
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(f"{generation}/chain.pem", f"{generation}/key.pem")
        context.load_verify_locations(f"{generation}/bundle.pem")
        return context


class Handler(http.server.BaseHTTPRequestHandler):
    timeout = 10  # of a handshake and of a read

    def setup(self):
        self.request.settimeout(self.timeout)
        self.request = self.server.credentials.context().wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self):
        try:
            super().finish()
        finally:
            self.request.close()

    def do_GET(self):
        caller = spiffe_id(self.request)
        allowed = caller in self.server.allowed
        body = f"Hello, {caller}\n" if allowed else f"{caller} may not call this\n"
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, address, credentials, allowed):
        super().__init__(address, Handler)
        self.credentials = credentials
        self.allowed = allowed

    def handle_error(self, request, client_address):
        print(f"refused {client_address[0]}: {sys.exc_info()[1]}", file=sys.stderr)


def serve(directory, address, allowed):
    credentials = Credentials(directory, ssl.PROTOCOL_TLS_SERVER)
    credentials.context()  # fails now rather than at the first caller
    host, port = address.rsplit(":", 1)
    server = Server((host, int(port)), credentials, allowed)
    print(f"serving on {host}:{server.server_port}", flush=True)
    server.serve_forever()


def get(directory, url, expected):
    parts = urllib.parse.urlsplit(url)
    context = Credentials(directory, ssl.PROTOCOL_TLS_CLIENT).context()
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context,
                                             timeout=10)
    connection.connect()
    if spiffe_id(connection.sock) != expected:  # before anything is said
        sys.exit(f"the server is {spiffe_id(connection.sock)}, not {expected}")
    connection.request("GET", parts.path or "/")
    response = connection.getresponse()
    print(response.read().decode(), end="")
    if response.status != 200:
        sys.exit(1)


def main(arguments):
    if len(arguments) < 4 or arguments[0] not in ("serve", "get"):
        sys.exit(__doc__)
    if arguments[0] == "serve":
        serve(arguments[1], arguments[2], set(arguments[3:]))
    else:
        get(arguments[1], arguments[2], arguments[3])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, ssl.SSLError) as failure:
        sys.exit(f"{failure}")
    except KeyboardInterrupt:
        sys.exit(0)
