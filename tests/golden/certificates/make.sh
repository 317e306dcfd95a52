#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
#
# Makes the certificates, requests and keys beside it with the openssl program (3.0 or later), so
# that another implementation's encodings are what the tests of x509/ read. The keys are new at each
# run and protect nothing. Run it here; every file but itself and README.md is replaced.
set -euo pipefail
cd "$(dirname "$0")"
out=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -f "$out"/*.pem "$out"/*.der
cd "$work"

cat > ca.cnf <<'CNF'
[ca]
default_ca=any
[any]
database=index.txt
new_certs_dir=.
unique_subject=no
rand_serial=yes
policy=policy
default_md=sha256
[policy]
organizationName=optional
commonName=optional
[req]
distinguished_name=dn
[dn]
[root]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
[issuer]
basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=URI:spiffe://example.org
[constrained]
basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
nameConstraints=critical,permitted;URI:example.org
[leaf]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=URI:spiffe://example.org/web,DNS:web.example.org,IP:127.0.0.1
[foreign]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=URI:spiffe://elsewhere.test/web
[bare]
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
[unknown_critical]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
authorityKeyIdentifier=keyid
1.2.3.4=critical,DER:0500
[no_key_id]
subjectKeyIdentifier=none
authorityKeyIdentifier=none
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
[none]
[ask_san]
subjectAltName=URI:spiffe://example.org/web
[ask_foreign]
subjectAltName=URI:spiffe://elsewhere.test/web,DNS:elsewhere.test,IP:127.0.0.1
[ask_ca]
basicConstraints=critical,CA:TRUE
[ask_sign]
keyUsage=critical,keyCertSign
CNF
touch index.txt

p256() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
# sign NAME KEY ISSUER-NAME ISSUER-KEY SECTION SUBJECT FROM TO [option…]
sign() {
  local name=$1 key=$2 issuer=$3 issuer_key=$4 section=$5 subject=$6 from=$7 to=$8
  shift 8
  openssl req -new -key "$key.key" -subj "$subject" -config ca.cnf -out "$name.csr"
  local by=(-cert "$issuer.crt" -keyfile "$issuer_key.key")
  if [ "$issuer" = self ]; then by=(-selfsign -keyfile "$issuer_key.key"); fi
  openssl ca -batch -notext -config ca.cnf "${by[@]}" -in "$name.csr" -out "$name.crt" \
    -extfile ca.cnf -extensions "$section" -startdate "$from" -enddate "$to" "$@" 2> ca.log ||
    { cat ca.log >&2; return 1; }
  openssl x509 -in "$name.crt" -out "$out/$name.pem"
}

from=20260101000000Z to=20360101000000Z
for key in root other issuer namesake sub leaf; do p256 "$key"; done
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa1024.key 2> /dev/null
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa2048.key 2> /dev/null
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.key
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
  -pkeyopt ec_param_enc:explicit -out explicit.key
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out secp256k1.key
openssl genpkey -algorithm ED25519 -out ed25519.key

sign root root self root root "/O=Example/CN=root" $from $to
sign root-sha1 rsa2048 self rsa2048 root "/O=Example/CN=root with SHA-1" $from $to -md sha1
sign other-root other self other root "/O=Example/CN=root" $from $to
sign issuer issuer root root issuer "/O=Example/CN=issuer 1" $from $to
sign issuer-other-root issuer other-root other issuer "/O=Example/CN=issuer 1" $from $to
sign issuer-expired issuer root root issuer "/O=Example/CN=issuer 1" 20250101000000Z 20260201000000Z
sign twin issuer self issuer issuer "/O=Example/CN=issuer 1" $from $to
sign constrained sub root root constrained "/O=Example/CN=constrained" $from $to
sign leaf leaf issuer issuer leaf "/O=Example/CN=web" $from $to
sign leaf-p384 p384 issuer issuer leaf "/O=Example/CN=web" $from $to
sign leaf-ed25519 ed25519 issuer issuer leaf "/O=Example/CN=web" $from $to
sign leaf-expired leaf issuer issuer leaf "/O=Example/CN=web" $from 20260301000000Z
sign leaf-future leaf issuer issuer leaf "/O=Example/CN=web" 20260601000030Z $to
sign leaf-of-root leaf root root leaf "/O=Example/CN=web" $from $to
sign leaf-of-leaf sub leaf leaf leaf "/O=Example/CN=below" $from $to
sign leaf-bare sub issuer issuer bare "/O=Example/CN=bare" $from $to
sign leaf-of-bare leaf leaf-bare sub leaf "/O=Example/CN=web" $from $to
sign sub-ca sub issuer issuer issuer "/O=Example/CN=sub" $from $to
sign leaf-of-sub leaf sub-ca sub leaf "/O=Example/CN=web" $from $to
sign leaf-permitted leaf constrained sub leaf "/O=Example/CN=web" $from $to
sign leaf-excluded leaf constrained sub foreign "/O=Example/CN=web" $from $to
sign leaf-rsa1024 rsa1024 issuer issuer leaf "/O=Example/CN=web" $from $to
sign leaf-rsa2048 rsa2048 issuer issuer leaf "/O=Example/CN=web" $from $to
sign leaf-explicit explicit issuer issuer leaf "/O=Example/CN=web" $from $to
sign leaf-secp256k1 secp256k1 issuer issuer leaf "/O=Example/CN=web" $from $to
sign leaf-sha1 leaf issuer issuer leaf "/O=Example/CN=web" $from $to -md sha1
sign issuer-rsa1024 rsa1024 root root issuer "/O=Example/CN=small" $from $to
sign leaf-of-rsa1024 leaf issuer-rsa1024 rsa1024 leaf "/O=Example/CN=web" $from $to
# Bears the genuine issuer's name and its key id, over another key.
key_id=$(openssl x509 -in issuer.crt -noout -ext subjectKeyIdentifier | tail -1 | tr -d ' ')
sed "s/^\[issuer\]/[namesake]/; t; s/^\[/[unused_/" ca.cnf |
  sed "/^\[namesake\]/,/^\[unused/ s/subjectKeyIdentifier=hash/subjectKeyIdentifier=$key_id/" |
  sed -n '/^\[namesake\]/,/^\[unused/ { /^\[unused/!p }' >> ca.cnf
sign namesake namesake root root namesake "/O=Example/CN=issuer 1" $from $to
sign leaf-of-namesake leaf namesake namesake leaf "/O=Example/CN=web" $from $to
sign leaf-unknown-critical leaf issuer issuer unknown_critical "/O=Example/CN=web" $from $to
sign leaf-no-key-id leaf issuer issuer no_key_id "/O=Example/CN=web" $from $to
openssl x509 -req -in leaf.csr -CA issuer.crt -CAkey issuer.key -set_serial 7 -days 3650 \
  -out "$out/version-1.pem" 2> /dev/null
# A serial number whose first bit is set.
openssl req -x509 -new -key leaf.key -subj "/CN=serial" -days 3650 -config ca.cnf -extensions none \
  -addext basicConstraints=CA:FALSE -set_serial 0x80FF -outform DER -out "$out/serial-80ff.der"

request() {
  openssl req -new -key "$2.key" -config ca.cnf -outform DER -out "$out/request-$1.der" "${@:3}"
}
request plain leaf -subj "/CN=web"
request p384 p384 -subj "/" -sha384
request san leaf -subj "/" -reqexts ask_san
request foreign leaf -subj "/CN=root" -reqexts ask_foreign
request ca leaf -subj "/" -reqexts ask_ca
request sign leaf -subj "/" -reqexts ask_sign
request rsa1024 rsa1024 -subj "/"
request ed25519 ed25519 -subj "/"
request explicit explicit -subj "/"
request sha1 leaf -subj "/" -sha1

openssl pkcs8 -topk8 -nocrypt -in leaf.key -out "$out/key-p256.pem"
openssl pkcs8 -topk8 -nocrypt -in leaf.key -outform DER -out "$out/key-p256.der"
openssl ec -in leaf.key -no_public -outform DER 2> /dev/null |
  openssl pkcs8 -topk8 -nocrypt -inform DER -outform DER -out "$out/key-no-public.der"
openssl pkcs8 -topk8 -nocrypt -in sub.key -outform DER -out "$out/key-constrained.der"
openssl pkcs8 -topk8 -nocrypt -in p384.key -outform DER -out "$out/key-p384.der"
openssl pkcs8 -topk8 -nocrypt -in rsa2048.key -outform DER -out "$out/key-rsa2048.der"
openssl ec -in leaf.key -out "$out/key-traditional.pem" 2> /dev/null
openssl pkcs8 -topk8 -in leaf.key -passout pass:x -out "$out/key-encrypted.pem"
for key in leaf p384 rsa1024 ed25519 explicit; do
  openssl pkey -in $key.key -pubout -outform DER -out "$out/public-$key.der"
done
openssl ec -in leaf.key -pubout -conv_form compressed -outform DER \
  -out "$out/public-compressed.der" 2> /dev/null
