#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# Ends each node's first process, and with it all that runs there; removes control groups and state
# (KEEP=1 leaves the state). down.sh NODE: that node alone, whose disk stays.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/settings.sh"
# What is beginning ends first.
if up=$(cat "$STATE/up.pid" 2>/dev/null) && grep -qsF up.sh "/proc/$up/cmdline"; then
  kill -KILL "$up"
fi
for node in "$STATE/nodes/${1:-}"*/; do
  node=${node%/}
  for file in "$node/pid" "$node/pid-unshare"; do
    process=$(cat "$file" 2>/dev/null) || continue
    # By what it was started as: a number alone may be another's by now.
    if tr '\0' ' ' 2>/dev/null <"/proc/$process/cmdline" | grep -F "$node" >/dev/null; then
      kill -KILL "$process"
    fi
    for _ in $(seq 200); do
      [[ -e /proc/$process ]] || break
      sleep 0.05
    done
    rm "$file"
  done
  [[ -e $node/cgroups ]] || continue
  while read -r group; do
    [[ ! -d $group ]] || find "$group" -depth -type d -exec rmdir {} \;
  done <"$node/cgroups"
  rm "$node/cgroups"
done
[[ -n ${KEEP:-}${1:-} ]] || rm -rf --one-file-system "$STATE"
