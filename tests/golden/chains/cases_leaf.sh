# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
#
# Part of make.sh: leaves that break the X509-SVID profile (step 1), and the roles.

readonly SAN="subjectAltName=URI:$PAYMENTS"
readonly NOT_CA='basicConstraints=critical,CA:FALSE'
readonly USAGE='keyUsage=critical,digitalSignature'
readonly BOTH='extendedKeyUsage=serverAuth,clientAuth'

# profile NAME ABOUT EXTENSIONS REASON…
profile() {
  begin "$1" "$2"
  odd_leaf "$1" "$3"
  send "$1" issuer
  shift 3
  verdict refused "$@"
}
profile no-san 'the leaf has no subject alternative name' \
  "$NOT_CA"$'\n'"$USAGE"$'\n'"$BOTH" NO_SPIFFE_ID
profile dns-san-only 'the leaf has a DNS name but no URI' \
  "$NOT_CA"$'\n'"$USAGE"$'\n'"$BOTH"$'\nsubjectAltName=DNS:payments.example.org' NO_SPIFFE_ID
profile two-uri-sans 'the leaf has two SPIFFE IDs' \
  "$NOT_CA"$'\n'"$USAGE"$'\n'"$BOTH"$'\n'"$SAN,URI:$WEB" SEVERAL_URI_SANS
profile two-uri-sans-one-spiffe 'the leaf has a SPIFFE ID and another URI' \
  "$NOT_CA"$'\n'"$USAGE"$'\n'"$BOTH"$'\n'"$SAN,URI:https://example.org/" SEVERAL_URI_SANS
profile no-spiffe-uri 'the URI is not of the scheme spiffe' \
  "$NOT_CA"$'\n'"$USAGE"$'\n'"$BOTH"$'\nsubjectAltName=URI:https://example.org/payments' \
  INVALID_SPIFFE_ID
profile trust-domain-id 'the SPIFFE ID has no path' \
  "$NOT_CA"$'\n'"$USAGE"$'\n'"$BOTH"$'\nsubjectAltName=URI:spiffe://example.org' INVALID_SPIFFE_ID
profile escaped-id 'the SPIFFE ID has a percent-encoded byte' \
  "$NOT_CA"$'\n'"$USAGE"$'\n'"$BOTH"$'\nsubjectAltName=URI:spiffe://example.org/p%61yments' \
  INVALID_SPIFFE_ID
profile leaf-is-ca 'the leaf says CA:TRUE' \
  "basicConstraints=critical,CA:TRUE
keyUsage=critical,digitalSignature,keyCertSign
$BOTH
$SAN" \
  LEAF_IS_CA LEAF_SIGNS_CERTIFICATES
profile leaf-key-cert-sign 'the leaf may sign certificates' \
  "$NOT_CA"$'\nkeyUsage=critical,digitalSignature,keyCertSign\n'"$BOTH"$'\n'"$SAN" \
  LEAF_SIGNS_CERTIFICATES PATH_INVALID
profile leaf-crl-sign 'the leaf may sign revocation lists' \
  "$NOT_CA"$'\nkeyUsage=critical,digitalSignature,cRLSign\n'"$BOTH"$'\n'"$SAN" \
  LEAF_SIGNS_CERTIFICATES
profile leaf-no-key-usage 'the leaf has no key usage' \
  "$NOT_CA"$'\n'"$BOTH"$'\n'"$SAN" LEAF_KEY_USAGE
profile leaf-no-digital-signature 'the leaf may only agree on keys' \
  "$NOT_CA"$'\nkeyUsage=critical,keyAgreement\n'"$BOTH"$'\n'"$SAN" LEAF_KEY_USAGE
profile leaf-key-usage-not-critical 'the key usage is not marked critical' \
  "$NOT_CA"$'\nkeyUsage=digitalSignature\n'"$BOTH"$'\n'"$SAN" LEAF_KEY_USAGE
profile wrong-eku 'the extended key usage is that of mail' \
  "$NOT_CA"$'\n'"$USAGE"$'\nextendedKeyUsage=emailProtection\n'"$SAN" LEAF_EXTENDED_KEY_USAGE
profile server-eku-only 'the extended key usage lacks clientAuth' \
  "$NOT_CA"$'\n'"$USAGE"$'\nextendedKeyUsage=serverAuth\n'"$SAN" LEAF_EXTENDED_KEY_USAGE

begin no-eku 'a leaf without extended key usage conforms'
odd_leaf no-eku "$NOT_CA"$'\n'"$USAGE"$'\n'"$SAN"
send no-eku issuer
verdict allowed

begin rsa-1024 'the leaf has an RSA key of 1024 bits'
key rsa-1024 -algorithm RSA -pkeyopt rsa_keygen_bits:1024
leaf rsa-1024 issuer $PAYMENTS
send rsa-1024 issuer
verdict refused WEAK_KEY

begin rsa-2048 'a leaf with an RSA key of 2048 bits is strong enough to be judged'
key rsa-2048 -algorithm RSA -pkeyopt rsa_keygen_bits:2048
leaf rsa-2048 issuer $PAYMENTS
send rsa-2048 issuer
verdict allowed

begin sha-1 'the leaf is signed over SHA-1'
leaf sha-1 issuer $PAYMENTS -md sha1
send sha-1 issuer
verdict refused WEAK_SIGNATURE

begin several-faults 'every broken rule of the profile is reported, not just the first'
odd_leaf several-faults "$NOT_CA
keyUsage=digitalSignature,cRLSign
extendedKeyUsage=serverAuth
$SAN"
send several-faults issuer
verdict refused LEAF_SIGNS_CERTIFICATES LEAF_KEY_USAGE LEAF_EXTENDED_KEY_USAGE

begin reserved-id 'a node calls a service with its node certificate'
inbound
send node issuer
verdict refused RESERVED_SPIFFE_ID

begin reserved-id-dialled 'even one who dials a reserved ID as a service does not get it'
put expect 'id spiffe://example.org/linchpin/node/n1'
send node issuer
verdict refused RESERVED_SPIFFE_ID

begin role-node 'the CA expects a node and gets one; peer policy does not apply'
put self spiffe://example.org/linchpin/ca
put direction inbound
put expect node
rules=()
send node issuer
verdict allowed

begin role-ca 'a node expects the CA and gets it'
put self spiffe://example.org/linchpin/node/n1
put expect ca
rules=()
send ca issuer
verdict allowed

begin role-ca-is-node 'a node answers for the CA'
put expect ca
send node issuer
verdict refused UNEXPECTED_PEER

begin role-ca-is-service 'a service answers for the CA'
put expect ca
send payments issuer
verdict refused UNEXPECTED_PEER

begin role-operator-is-node 'a node asks for what operators may'
put direction inbound
put expect operator
send node issuer
verdict refused UNEXPECTED_PEER

profile upper-case-trust-domain 'the trust domain has an upper-case letter' \
  "$LEAF_USAGE"$'\nsubjectAltName=URI:spiffe://Example.org/payments' INVALID_SPIFFE_ID
profile unknown-critical-extension 'a critical extension that nobody knows' \
  "$LEAF_USAGE"$'\n'"$SAN"$'\n1.3.6.1.4.1.55555.2=critical,ASN1:NULL' PATH_INVALID

begin dns-san-beside 'a DNS name beside the SPIFFE ID is for others'
odd_leaf dns-san-beside "$LEAF_USAGE"$'\n'"$SAN,DNS:payments.example.org"
send dns-san-beside issuer
verdict allowed

begin ed25519 'a leaf with an Ed25519 key is strong enough to be judged'
key ed25519 -algorithm ED25519
leaf ed25519 issuer $PAYMENTS
send ed25519 issuer
verdict allowed

begin role-node-of-several-segments 'a node is named by one segment'
leaf deep-node issuer spiffe://example.org/linchpin/node/n1/x
put direction inbound
put expect node
send deep-node issuer
verdict refused UNEXPECTED_PEER
