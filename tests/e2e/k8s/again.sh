#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# again.sh NODE: a node that down.sh NODE ended is switched on again, with the disk that it had.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/settings.sh"
die() {
  echo "again: $*; see $LOG" >&2
  exit 1
}
# shellcheck source=/dev/null
. "$STATE/nodes/$1/env"
LOG=$STATE/log
. "$HERE/machine.sh"
boot_node
