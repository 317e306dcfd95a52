#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# Ends the cluster as soon as whoever holds the other end of its standard input has closed it, or is
# no more: nothing is left behind by who was killed.
HERE=$(cd "$(dirname "$0")" && pwd)
trap '' INT TERM HUP
cat >/dev/null
exec "$HERE/down.sh"
