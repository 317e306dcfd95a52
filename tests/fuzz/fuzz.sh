# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# `./dev fuzz`: read by it, and made of its own pieces.
# shellcheck shell=bash

# fuzz [TARGET [--seconds N]]
fuzz() {
  local target=${1:-} seconds=60 targets seeds
  (($# == 0)) || shift
  while (($#)); do
    case $1 in
      --seconds)
        [[ ${2:-} =~ ^[0-9]+$ ]] || misused "fuzz: --seconds takes a number"
        seconds=$2
        shift 2
        ;;
      *) misused "fuzz: no option '$1'" ;;
    esac
  done
  setup Build Test Fuzz
  configure fuzz
  targets=$(ninja -C build/fuzz -t targets all |
    sed -n -e '/^fuzz_test:/d' -e 's/^fuzz_\([a-z0-9_]*\): phony.*/\1/p')
  if [[ -z $target ]]; then
    printf '%s\n' "$targets"
    return
  fi
  has_target fuzz "fuzz_$target" || misused "fuzz: no target '$target' (${targets//$'\n'/ })"
  build fuzz "fuzz_$target"
  seeds=tests/fuzz/corpus/$target
  mkdir -p "build/fuzz/corpus/$target" "build/fuzz/found"
  [[ -d $seeds ]] || seeds=
  phase "fuzz $target for $seconds s" "build/fuzz/fuzz/$target" -max_total_time="$seconds" \
    -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/found/$target-" "build/fuzz/corpus/$target" ${seeds:+"$seeds"}
}
