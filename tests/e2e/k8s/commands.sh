# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# `./dev k8s` and `./dev test --k8s`; read by dev.
# shellcheck shell=bash disable=SC2154  # PYTHON is dev's

# What a cluster takes; where it cannot be had, its tests are skipped and say so.
set_up_cluster() {
  local why code=0
  if ! why=$(tests/e2e/k8s/possible.sh); then
    say "$why; its tests are skipped"
    return 0
  fi
  setup Cluster
  phase "build Kubernetes (minutes, once)" tests/e2e/k8s/build.sh || code=$?
  ((code != 3)) || say "NO CLUSTER HERE: Go cannot load Kubernetes; its tests are skipped"
  return $((code == 3 ? 0 : code))
}

command_k8s() {
  local action=${1:-} why
  (($# == 0)) || shift
  case $action in
    up | test)
      why=$(tests/e2e/k8s/possible.sh) || die "$why"
      setup Cluster
      phase "build Kubernetes (minutes, once)" tests/e2e/k8s/build.sh
      ;;&
    up) NODES="${*:-node1}" exec tests/e2e/k8s/up.sh ;;
    test)
      build release programs
      LINCHPIN_BIN=$PWD/build/release/bin exec "$PYTHON" -B -m pytest -c tests/pytest.ini \
        --rootdir . -m k8s tests/e2e/k8s "$@"
      ;;
    down) exec tests/e2e/k8s/down.sh ;;
    kubectl) exec tests/e2e/k8s/in.sh kubectl "$@" ;;
    *) misused "k8s: up, down, test or kubectl, not '$action'" ;;
  esac
}
