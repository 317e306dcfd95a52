# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# What the scripts of this folder share; the environment may say otherwise.
# shellcheck shell=bash disable=SC2034  # used by whoever reads this
ROOT=${ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/linchpin-k8s}
STATE=${STATE:-$ROOT/cluster}  # of one cluster; gone after down.sh
BIN=${BIN:-$ROOT/bin}          # what was built
IMAGES=${IMAGES:-$ROOT/images} # OCI archives that every node is given
NODES=${NODES:-node1}          # the first has the control plane
API_IP=10.99.0.1               # node N is 10.99.0.N, its pods are 10.98.N.0/24
SVC_CIDR=10.96.0.0/16 SVC_IP=10.96.0.1 DNS_IP=10.96.0.10 CLUSTER_CIDR=10.98.0.0/16
ISSUER=${ISSUER:-https://kubernetes.default.svc.cluster.local}
LOG=$STATE/log PKI=$STATE/pki KCFG=$STATE/kubeconfig
