#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# gen-gomod.sh KUBERNETES ETCD (1.35.4 v3.6.5): the go.mod of another version on stdout. Kubernetes'
# own go.mod takes its parts from a folder of its tree; here each is a module of its own.
set -euo pipefail
version=$1 etcd=$2
module=$(go mod download -json "k8s.io/kubernetes@v$version" |
  sed -n 's/.*"GoMod": "\(.*\)",*/\1/p')
printf 'module kubetools\n\ngo %s\n\n' "$(sed -n 's/^go //p' "$module")"
sed -n '/^godebug/p' "$module"
printf '\nrequire (\n\tk8s.io/kubernetes v%s\n' "$version"
printf '\tgo.etcd.io/etcd/server/v3 %s\n)\n\n' "$etcd"
printf 'replace (\n'
sed -n 's/^\t*\(replace \)\{0,1\}\(k8s.io\/[a-z0-9-]*\) => .\/staging.*/\2/p' "$module" | sort -u |
  while read -r part; do printf '\t%s => %s v0.%s\n' "$part" "$part" "${version#*.}"; done
printf ')\n'
