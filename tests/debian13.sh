#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# debian13.sh COMMAND...: on Debian 13, in a root of its own under ~/.cache, with this tree where it
# is here, and build/debian13 in the place of build. Processes end with the command. Takes root and
# debootstrap (`./dev debian13` sees to it). The root is made anew after a week, so that security
# updates come in.
set -euo pipefail
readonly SUITE=trixie MIRROR=${LINCHPIN_MIRROR:-http://deb.debian.org/debian}
readonly SECURITY=${LINCHPIN_MIRROR_SECURITY:-http://deb.debian.org/debian-security}
readonly KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/linchpin-debian13
root=$cache/root
readonly tree cache root

say() { printf '== %s\n' "$*" >&2; }

die() {
  printf 'debian13: %s\n' "$*" >&2
  exit 1
}

make_root() {
  local made=$cache/root.new
  rm -rf "$made" "$root.old"
  say "Debian 13: debootstrap (all of it: $cache/debootstrap.log)"
  debootstrap --variant=minbase --keyring="$KEYS" "$SUITE" "$made" "$MIRROR" \
    >"$cache/debootstrap.log" 2>&1 || return 1
  printf 'deb %s %s main\n' "$MIRROR" "$SUITE" "$MIRROR" "$SUITE-updates" \
    "$SECURITY" "$SUITE-security" >"$made/etc/apt/sources.list"
  printf 'debian13\n' >"$made/etc/hostname"
  [[ ! -d $root ]] || mv "$root" "$root.old"
  mv "$made" "$root"
  rm -rf "$root.old"
}

ensure_root() {
  mkdir -p "$cache"
  exec {lock}>"$cache/lock"
  # Whoever works in the root holds the lock, shared, until it ends: it is not replaced under it.
  if [[ ! -d $root || -n $(find "$root/etc/hostname" -mtime +7) ]] && flock -n "$lock"; then
    make_root || { [[ -d $root ]] && say "Debian 13: not made anew; the older one is used"; } ||
      die "debootstrap failed: is there a network? (all of it: $cache/debootstrap.log)"
  fi
  flock -s "$lock"
  [[ -d $root ]] || die "no Debian 13 in $root"
}

# In name spaces of its own: what is mounted and started here is seen by nobody else.
enter() { # COMMAND...
  local from
  mount --bind "$root" "$root"
  cd "$root"
  mount -t proc proc proc
  for from in sys dev; do mount --rbind "/$from" "$from"; done
  mount -t tmpfs tmpfs run
  mkdir -p "$tree/build/debian13" "$tree/build" "$cache/ccache" ".$tree" root/.cache/ccache
  mount --rbind "$tree" ".$tree"
  mount --bind "$tree/build/debian13" ".$tree/build"
  mount --bind "$cache/ccache" root/.cache/ccache
  cat /etc/resolv.conf >etc/resolv.conf
  cat /etc/hosts >etc/hosts
  pivot_root . .
  umount -l .
  cd "$tree"
  "$@" || exit  # not exec: what is left behind by others needs somebody who waits for it
  exit
}

if [[ ${LINCHPIN_ENTERED:-} == yes ]]; then
  unset LINCHPIN_ENTERED XDG_CACHE_HOME
  enter "$@"
fi
(($#)) || die "which command?"
((EUID == 0)) || die "a root of its own takes root"
command -v debootstrap >/dev/null || die "no debootstrap here: run ./dev setup Debian13"
ensure_root
kept=()
for name in TERM CI "${!LINCHPIN_@}"; do
  case $name in
    LINCHPIN_BIN) ;;  # programs of this system, not of that
    *) [[ -z ${!name:-} ]] || kept+=("$name=${!name}") ;;
  esac
done
exec unshare --mount --pid --fork --kill-child --propagation private \
  env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  DEBIAN_FRONTEND=noninteractive "${kept[@]}" LINCHPIN_ENTERED=yes \
  XDG_CACHE_HOME="${cache%/*}" "${BASH_SOURCE[0]}" "$@"
