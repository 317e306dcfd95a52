#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
#
# Makes every golden chain again, with the openssl program alone: common/ holds the authorities'
# certificates, each other folder is a case (README.md says what is in it). The outputs are
# committed, so tests need no openssl; keys and signatures differ from run to run, verdicts must
# not.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. ./authorities.sh

declare -A value
declare -a rules revocations
readonly WEB=spiffe://example.org/web PAYMENTS=spiffe://example.org/payments

# begin NAME ABOUT: a case with the defaults: web dials payments.
begin() {
  name=$1
  rules=("$WEB -> $PAYMENTS both")
  revocations=()
  value=([about]=$2 [trust_domain]=example.org [anchors]=root.pem [issuers]='issuer.pem backup.pem'
    [pinned_anchors]=root.pem [pinned_issuers]='issuer.pem backup.pem' [mode]=enforce
    [self]=$WEB [direction]=outbound [expect]="id $PAYMENTS" [now]=2030-06-01T12:00:00Z)
  mkdir "$name"
  : >"$name/chain.pem"
}
put() { value[$1]=$2; }
# send NAME…: the chain as the peer sends it.
send() {
  local part
  for part in "$@"; do cat "$work/$part.pem" >>"$name/chain.pem"; done
}
# The callee's view of the same pair.
inbound() { put self $PAYMENTS; put direction inbound; put expect any_allowed; }
# verdict allowed|refused REASON…: the end of a case. "REASON(reported)" does not block.
verdict() {
  local field rule revocation
  {
    for field in about trust_domain anchors issuers pinned_anchors pinned_issuers mode \
      any_under_anchor expires_at on_expiry second_trust_domain second_anchors self; do
      [ -z "${value[$field]+set}" ] || echo "$field: ${value[$field]}"
    done
    for rule in "${rules[@]}"; do echo "rule: $rule"; done
    for revocation in "${revocations[@]}"; do echo "revoke: $revocation"; done
    for field in direction expect now; do echo "$field: ${value[$field]}"; done
    echo "verdict: $1"
    shift
    echo "reasons: ${*:-none}"
  } | sed 's/: $/: none/' >"$name/case.txt"
}

rm -rf ./*/
make_authorities
mkdir common
for part in root rogue-root issuer backup rogue-issuer namesake twin-namesake expired-issuer \
  sub-issuer constrained-issuer weak-issuer; do
  cp "$work/$part.pem" common/
done
. ./cases_path.sh
. ./cases_leaf.sh
. ./cases_trust.sh
echo "$(find . -name case.txt | wc -l) cases"
