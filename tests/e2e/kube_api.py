# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""An API server that stands in for a cluster's: tokens, objects, lists in pages and watches."""

import base64
import collections
import http.server
import json
import re
import ssl
import subprocess
import threading
import urllib.parse

from deployment import free_port

ADMIN = "the-token-of-our-own-service-account"


def jwt(claims):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    return f"{part({'alg': 'RS256'})}.{part(claims)}.c2lnbmF0dXJl"


class KubeApi:
    """Objects by collection ("/api/v1/pods"); whoever changes one tells who watches."""

    def __init__(self, folder):
        self.folder = folder
        self.changed = threading.Condition()
        self.objects = collections.defaultdict(dict)  # collection -> (namespace, name) -> object
        self.events = collections.defaultdict(list)   # collection -> (version, type, object)
        self.version = 100
        self.oldest = 0          # a watch from an earlier version is answered with 410
        self.tokens = {}         # token -> the user that a review tells of
        self.requests = []       # (method, path)
        self.answering = True    # if not, connections are closed without a word
        self.forbidden = None    # what begins so is answered 403
        self.bearer = ADMIN      # of who may ask
        self.slow = None         # a write whose path ends so is answered when this is None again
        self.stopped = False
        self.port = free_port()
        self._certificate()
        self.token_file = folder / "api-token"
        self.token_file.write_text(ADMIN)
        self._serve()

    # What tests do.
    def token(self, name, namespace="linchpin", account="linchpin-agent", node="node1",
              pod="agent-1", audience="linchpin-ca", **claims):
        made = jwt({"aud": [audience], "jti": name,
                    "sub": f"system:serviceaccount:{namespace}:{account}", **claims})
        keys = {"node-name": node, "node-uid": f"uid-of-{node}", "pod-name": pod,
                "pod-uid": f"uid-of-{pod}"}
        self.tokens[made] = {
            "audience": audience,
            "user": {"username": f"system:serviceaccount:{namespace}:{account}",
                     "extra": {f"authentication.kubernetes.io/{key}": [value]
                               for key, value in keys.items()}}}
        return made

    def put(self, collection, name, namespace="", **fields):
        with self.changed:
            self.version += 1
            key = (namespace, name)
            known = self.objects[collection].get(key)
            item = {**fields, "metadata": {
                "uid": f"uid-of-{name}", **fields.get("metadata", {}), "name": name,
                "generation": (known["metadata"]["generation"] + 1) if known else 1,
                "resourceVersion": str(self.version)}}
            if namespace:
                item["metadata"]["namespace"] = namespace
            if known and "status" in known and "status" not in fields:
                item["status"] = known["status"]
            self._tell(collection, "MODIFIED" if known else "ADDED", key, item)
            return item

    def delete(self, collection, name, namespace=""):
        with self.changed:
            self.version += 1
            item = self.objects[collection].pop((namespace, name))
            item["metadata"]["resourceVersion"] = str(self.version)
            self.events[collection].append((self.version, "DELETED", item))
            self.changed.notify_all()

    def get(self, collection, name, namespace=""):
        with self.changed:
            return self.objects[collection].get((namespace, name))

    def forget(self):
        """Every watch from an earlier version is answered with 410 from now on."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            self.changed.notify_all()

    def change(self, **what):
        """Sets what it goes by from now on."""
        with self.changed:
            for name, value in what.items():
                setattr(self, name, value)
            self.changed.notify_all()

    def count(self, method, path):
        return sum(1 for m, p in self.requests if m == method and re.search(path, p))

    def pod(self, name, namespace, account, node, uid, labels=None):
        self.put("/api/v1/pods", name, namespace,
                 metadata={"uid": uid, "labels": labels or {}},
                 spec={"nodeName": node, "serviceAccountName": account,
                       "containers": [{"name": "main", "image": "localhost/main:1"}]},
                 status={"phase": "Running"})

    def flags(self):
        return ["--kubernetes-api-server", f"https://127.0.0.1:{self.port}",
                "--kubernetes-ca-file", self.folder / "api.crt"]

    def stop(self):
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    # What it does.
    def _tell(self, collection, kind, key, item):
        self.objects[collection][key] = item
        self.events[collection].append((self.version, kind, json.loads(json.dumps(item))))
        self.changed.notify_all()

    def _certificate(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=kube-apiserver", "-addext",
             "subjectAltName=IP:127.0.0.1", "-keyout", self.folder / "api.key", "-out",
             self.folder / "api.crt"], check=True, capture_output=True)

    def _serve(self):
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                api._get(self)

            def do_POST(self):
                api._write(self, "POST")

            def do_PUT(self):
                api._write(self, "PUT")

            def do_PATCH(self):
                api._write(self, "PATCH")

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "api.crt", self.folder / "api.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _answer(self, handler, code, body):
        data = json.dumps(body).encode()
        handler.send_response(code)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _begin(self, handler):
        """Whether to go on."""
        self.requests.append((handler.command, handler.path))
        if not self.answering:
            handler.close_connection = True
            return False
        if handler.headers.get("Authorization") != f"Bearer {self.bearer}":
            handler.close_connection = True
            self._answer(handler, 401, {"kind": "Status", "message": "Unauthorized"})
            return False
        if self.forbidden and handler.path.startswith(self.forbidden):
            self._answer(handler, 403, {"kind": "Status", "message": "Forbidden"})
            return False
        return True

    def _get(self, handler):
        if not self._begin(handler):
            return
        url = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if query.get("watch"):
            return self._watch(handler, url.path, query)
        with self.changed:
            if url.path not in self.objects and self._split(url.path)[1]:
                collection, key = self._split(url.path)
                item = self.objects[collection].get(key)
                return self._answer(handler, 200 if item else 404,
                                    item or {"kind": "Status", "message": "not found"})
            items = [item for _, item in sorted(self.objects[url.path].items())
                     if self._selected(item, query)]
            version = self.version
        begin, size = int(query.get("continue", 0)), int(query.get("limit", 500))
        metadata = {"resourceVersion": str(version)}
        if begin + size < len(items):
            metadata["continue"] = str(begin + size)
        self._answer(handler, 200, {"kind": "List", "metadata": metadata,
                                    "items": items[begin:begin + size]})

    @staticmethod
    def _selected(item, query):
        key, _, value = query.get("fieldSelector", "").partition("=")
        return key != "spec.nodeName" or item.get("spec", {}).get("nodeName") == value

    @staticmethod
    def _split(path):
        """/api/v1/namespaces/NS/KIND/NAME -> (/api/v1/KIND, (NS, NAME))."""
        match = re.fullmatch(r"(/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/([^/]+))?/([^/]+)"
                             r"(?:/([^/]+))?(/status)?", path)
        if not match:
            return path, None
        return f"{match[1]}/{match[3]}", (match[2] or "", match[4]) if match[4] else None

    def _watch(self, handler, collection, query):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()

        def say(kind, item):
            data = json.dumps({"type": kind, "object": item}).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            handler.wfile.flush()

        seen = int(query["resourceVersion"])
        try:
            while True:
                with self.changed:
                    self.changed.wait_for(
                        lambda: self.stopped or not self.answering or seen < self.oldest or any(
                            version > seen for version, _, _ in self.events[collection]), 5)
                    if self.stopped or not self.answering:
                        handler.close_connection = True
                        return
                    gone = seen < self.oldest
                    events = [e for e in self.events[collection] if e[0] > seen]
                if gone:
                    say("ERROR", {"kind": "Status", "code": 410, "message": "too old"})
                    handler.wfile.write(b"0\r\n\r\n")
                    return
                for version, kind, item in events:
                    seen = version
                    if self._selected(item, query):
                        say(kind, item)
        except OSError:
            handler.close_connection = True

    def _write(self, handler, method):
        body = json.loads(handler.rfile.read(int(handler.headers.get("Content-Length", 0))))
        if not self._begin(handler):
            return
        with self.changed:
            self.changed.wait_for(lambda: self.stopped or self.slow is None or
                                  not handler.path.endswith(self.slow))
        if handler.path == "/apis/authentication.k8s.io/v1/tokenreviews":
            return self._answer(handler, 201, {"status": self._review(body["spec"])})
        status_only = handler.path.endswith("/status")
        collection, key = self._split(handler.path)
        if key is None:
            key = (self._namespace(handler.path), body["metadata"]["name"])
        with self.changed:
            known = self.objects[collection].get(key)
        if method == "POST" and known:
            return self._answer(handler, 409, {"message": "it exists"})
        if method != "POST" and not known:
            return self._answer(handler, 404, {"message": "not found"})
        merged = {**(known or {}), **({"status": body["status"]} if status_only else body)}
        with self.changed:
            self.version += 1
            merged["metadata"] = {**(known or body)["metadata"],
                                  "resourceVersion": str(self.version)}
            merged["metadata"].setdefault("uid", f"uid-of-{key[1]}")
            self._tell(collection, "MODIFIED" if known else "ADDED", key, merged)
        self._answer(handler, 201 if method == "POST" else 200, merged)

    @staticmethod
    def _namespace(path):
        match = re.search(r"/namespaces/([^/]+)/", path)
        return match[1] if match else ""

    def _review(self, spec):
        known = self.tokens.get(spec["token"])
        if known is None:
            return {"error": "[invalid bearer token, service account token has been invalidated]"}
        if known["audience"] not in spec["audiences"]:
            return {"error": f"token audiences {known['audience']} is invalid"}
        return {"authenticated": True, "audiences": [known["audience"]], "user": known["user"]}
