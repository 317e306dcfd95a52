# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""What is in an image, as SPDX 2.3: each file, and the Debian package that it is of, by dpkg."""

import functools
import hashlib
import json
import pathlib
import re
import subprocess

OURS = "linchpin"


def owners_of(paths):
    """-> of each file its source package, package and version, in two questions to dpkg."""
    names = {}  # by which a merged /usr may have the file
    for path in paths:
        resolved = str(pathlib.Path(path).resolve())
        for name in (str(path), f"/usr{path}", resolved, resolved.removeprefix("/usr")):
            names[name] = path
    told = subprocess.run(["dpkg-query", "-S", *names], capture_output=True, text=True,
                          check=False).stdout
    packages = {}
    for line in told.splitlines():
        if line.startswith("diversion by "):  # base-files has one of the loader; libc6 owns it
            continue
        package, name = line.split(": ", 1)
        packages[names[name]] = package.split(",")[0]
    missing = set(paths) - set(packages)
    assert not missing, f"of no Debian package: {missing}"
    told = subprocess.run(["dpkg-query", "-W", "-f=${binary:Package} ${source:Package} "
                           "${Package} ${Version}\n", *sorted(set(packages.values()))],
                          capture_output=True, text=True, check=True).stdout
    known = {line.split()[0]: line.split()[1:] for line in told.splitlines()}
    return {path: known.get(package) or known[package.split(":")[0]]
            for path, package in packages.items()}


def identifier(*words):
    text = "-".join(words)
    return "SPDXRef-" + "".join(c if c.isalnum() or c in ".-" else "-" for c in text)


@functools.cache
def release():
    """Of Debian: bookworm, trixie."""
    text = pathlib.Path("/etc/os-release").read_text()
    return re.search(r"^VERSION_CODENAME=(\w+)", text, re.M).group(1)


def package_of(name, version, supplier, *, source=None):
    made = {"SPDXID": identifier("Package", name), "name": name, "versionInfo": version,
            "supplier": supplier, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
            "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION",
            "licenseDeclared": "Apache-2.0" if name == OURS else "NOASSERTION"}
    if source is not None:
        made["sourceInfo"] = f"built from the Debian source package {source}"
        made["externalRefs"] = [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                                 "referenceLocator": f"pkg:deb/debian/{name}@{version}"
                                                     f"?distro={release()}"}]
    return made


def write_sbom(name, version, rootfs, origins, out):
    """`origins`: paths in the image -> the file of this machine, or none where it is our own."""
    packages = {OURS: package_of(OURS, version, "Organization: The Linchpin Authors")}
    files, relations = [], []
    owners = owners_of({path for path in origins.values() if path})

    def relate(one, kind, other):
        relations.append({"spdxElementId": one, "relationshipType": kind,
                          "relatedSpdxElement": other})

    relate("SPDXRef-DOCUMENT", "DESCRIBES", packages[OURS]["SPDXID"])
    for path in sorted(p for p in rootfs.rglob("*") if p.is_file()):
        inside = "/" + str(path.relative_to(rootfs))
        package = packages[OURS]
        if origins.get(inside):
            source, binary, of = owners[origins[inside]]
            if binary not in packages:
                packages[binary] = package_of(binary, of, "Organization: Debian", source=source)
                relate(packages[OURS]["SPDXID"], "DEPENDS_ON", packages[binary]["SPDXID"])
            package = packages[binary]
        files.append({"SPDXID": identifier("File", inside), "fileName": "." + inside,
                      "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION",
                      "checksums": [{"algorithm": algorithm.upper(), "checksumValue":
                                     hashlib.new(algorithm, path.read_bytes()).hexdigest()}
                                    for algorithm in ("sha1", "sha256")]})
        relate(package["SPDXID"], "CONTAINS", files[-1]["SPDXID"])
    document = {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
                "name": name, "creationInfo": {"created": "1970-01-01T00:00:00Z",
                                               "creators": ["Tool: k8s/image/build.py"]},
                "packages": list(packages.values()), "files": files, "relationships": relations}
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    document["documentNamespace"] = f"https://linchpin.dev/spdx/{digest}"
    pathlib.Path(out).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
