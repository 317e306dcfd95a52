#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# in.sh COMMAND...: on a node (ON=node1 unless told), kubectl as the cluster's administrator.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/settings.sh"
first=$(cat "$STATE/nodes/${ON:-node1}/pid")
# shellcheck disable=SC2016  # the shell inside expands it
exec nsenter -t "$first" -m -n -p -i -u -C env "PATH=$BIN:$PATH" "KUBECONFIG=$KCFG/admin.conf" \
  "KUBECACHEDIR=$STATE/kubecache" sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
