#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""An OCI image of a folder, as an archive that `ctr images import` takes.

One layer, not compressed. The same folder gives the same bytes: owners and times are left out.
"""

import argparse
import hashlib
import io
import json
import os
import tarfile

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OCI = "application/vnd.oci.image"


def without_owner(entry):
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def layer_of(folder):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(os.listdir(folder)):
            tar.add(os.path.join(folder, name), arcname=name, filter=without_owner)
    return data.getvalue()


class Blobs:
    def __init__(self):
        self.by_digest = {}

    def add(self, data, kind):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.by_digest[digest] = data
        return {"mediaType": f"{OCI}.{kind}", "digest": digest, "size": len(data)}

    def add_json(self, value, kind):
        return self.add(json.dumps(value, sort_keys=True).encode(), kind)


def write_image(name, out, rootfs, entrypoint=None, user=""):
    blobs = Blobs()
    layer = blobs.add(layer_of(rootfs), "layer.v1.tar")
    settings = {"Env": [PATH], "User": user}
    if entrypoint:
        settings["Entrypoint"] = entrypoint
    config = blobs.add_json(
        {"architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z",
         "config": settings, "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}},
        "config.v1+json")
    manifest = blobs.add_json({"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json",
                               "config": config, "layers": [layer]}, "manifest.v1+json")
    manifest["annotations"] = {"io.containerd.image.name": name,
                               "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
             "index.json": json.dumps({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json",
                                       "manifests": [manifest]}).encode()}
    files.update({f"blobs/sha256/{digest.split(':')[1]}": data
                  for digest, data in sorted(blobs.by_digest.items())})
    with tarfile.open(out, "w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return manifest["digest"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="localhost/linchpin:1")
    parser.add_argument("out", help="the archive")
    parser.add_argument("--rootfs", required=True, help="the folder")
    parser.add_argument("--entrypoint", type=json.loads, help='["/program"]')
    parser.add_argument("--user", default="")
    args = parser.parse_args()
    print(write_image(args.name, args.out, args.rootfs, args.entrypoint, args.user))


if __name__ == "__main__":
    main()
