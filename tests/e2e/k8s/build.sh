#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# Builds etcd and Kubernetes as one program under many names, and the image of the pause container.
# Does nothing where that was done for this version and this Go. Exits 3 where Go has no modules.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/settings.sh"
mkdir -p "$BIN" "$IMAGES"

version=$(sed -n 's/^\tk8s.io\/kubernetes //p' "$HERE/kubernetes/go.mod")
sources=$(cat "$HERE"/kubernetes/{main.go,go.mod,go.sum} | sha256sum | cut -c1-16)
stamp="$version $sources $(go version)"
if [[ $(cat "$BIN/kubeall.stamp" 2>/dev/null) != "$stamp" ]]; then
  rm -f "$BIN/kubeall.stamp"
  minor=${version#v1.}
  flags="-s -w"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1"
    flags+=" -X $package.gitMinor=${minor%%.*}"
  done
  (cd "$HERE/kubernetes" && GOTOOLCHAIN=local go list -mod=readonly -deps . >/dev/null) || {
    echo "build: the modules of Kubernetes cannot be loaded (no network, or Go is too old)" >&2
    exit 3
  }
  (cd "$HERE/kubernetes" && CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-buildvcs=false ${GOFLAGS:-}" \
    go build -mod=readonly -trimpath -ldflags "$flags" -o "$BIN/kubeall.new" .)
  mv "$BIN/kubeall.new" "$BIN/kubeall"
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet \
    kubectl; do
    ln -sf kubeall "$BIN/$name"
  done
  printf '%s\n' "$stamp" >"$BIN/kubeall.stamp"
fi

if [[ ! -e $IMAGES/pause.tar ]]; then
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  gcc -Os -static -o "$root/pause" "$HERE/pause.c"
  /usr/bin/python3 -B "$HERE/../../../k8s/image/image.py" localhost/pause:1 "$IMAGES/pause.tar" \
    --rootfs "$root" --entrypoint '["/pause"]' >/dev/null
fi
