#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# Says in one line why this machine can have no cluster, and fails; says nothing where it can.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/settings.sh"
no() {
  echo "NO CLUSTER HERE: $*"
  exit 1
}

((EUID == 0)) || no "it takes root"
[[ -e $BIN/kubeall ]] || command -v go >/dev/null ||
  no "it takes Go 1.25 or later, to build Kubernetes once (docs/dependencies.md)"
[[ $(dpkg-query -W -f='${db:Status-Status}' containerd.io 2>/dev/null) != installed ]] ||
  no "it takes Debian's containerd, which would replace Docker's own containerd.io"
unshare --cgroup --mount --net --pid --ipc --uts --fork true 2>/dev/null ||
  no "this root may make no name spaces (a container without CAP_SYS_ADMIN?)"
while IFS=: read -r _ controllers path; do
  [[ $controllers == memory ]] || continue
  group=/sys/fs/cgroup/memory${path%/}/linchpin-probe-$$
  mkdir "$group" 2>/dev/null || no "this root may make no control groups"
  rmdir "$group"
  found=yes
done </proc/self/cgroup
[[ -n ${found:-} ]] || no "its control groups are of version 2 alone, which node.sh does not set up"
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
mkdir "$probe"/{lower,upper,work,merged}
unshare --mount mount -t overlay overlay "$probe/merged" \
  -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" 2>/dev/null ||
  no "overlayfs cannot be mounted on ${TMPDIR:-/tmp}"
