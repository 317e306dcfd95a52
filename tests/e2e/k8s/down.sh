#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# Ends each node's first process, and with it all that runs there; removes control groups and state
# (KEEP=1 leaves the state). down.sh NODE: that node alone, whose disk stays.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/settings.sh"
for node in "$STATE/nodes/${1:-}"*/; do
  node=${node%/}
  [[ -e $node/pid ]] || continue
  first=$(cat "$node/pid") outside=$(cat "$node/pid-unshare")
  # By what it was started as: a number alone may be another's by now.
  if tr '\0' ' ' <"/proc/$first/cmdline" 2>/dev/null | grep -qF "node.sh $node"; then
    kill -KILL "$first"
  fi
  for _ in $(seq 200); do
    [[ -e /proc/$outside ]] || break
    sleep 0.05
  done
  rm -f "$node/pid"
  [[ -e $node/cgroups ]] || continue
  while read -r group; do
    [[ ! -d $group ]] || find "$group" -depth -type d -exec rmdir {} \;
  done <"$node/cgroups"
done
[[ -n ${KEEP:-}${1:-} ]] || rm -rf --one-file-system "$STATE"
