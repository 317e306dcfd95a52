# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
#
# Part of make.sh: chains as sent, and their paths (limits and step 2 of the verdict).

begin good-outbound 'a client judges the server that it dialled'
send payments issuer
verdict allowed

begin good-inbound 'a server judges a client that policy allows'
inbound
send web issuer
verdict allowed

begin good-leaf-alone 'the intermediate is not sent, but the trust state holds it'
send payments
verdict allowed

begin good-with-root 'the root is sent as well'
send payments issuer root
verdict allowed

begin good-out-of-order 'needless certificates stand between leaf and issuer'
send payments rogue-issuer backup issuer
verdict allowed

begin intermediate-missing 'the intermediate is neither sent nor held'
put issuers ''
send payments
verdict refused NO_PATH

begin no-certificate 'nothing is sent'
verdict refused NO_CERTIFICATE

begin nine-certificates 'one certificate more than the limit'
send payments issuer issuer issuer issuer issuer issuer issuer issuer
verdict refused TOO_MANY_CERTIFICATES

begin eight-certificates 'as many certificates as the limit allows'
send payments issuer issuer issuer issuer issuer issuer issuer
verdict allowed

begin twenty-kib 'two certificates of 10 KiB beside the leaf'
certificate padding /O=Linchpin/CN=padding self $ROOT_FROM $ROOT_TO \
  "$CA_USAGE
1.3.6.1.4.1.55555.1=ASN1:UTF8String:$(printf 'x%.0s' $(seq 10000))"
send payments padding padding
verdict refused CHAIN_TOO_LARGE

begin malformed 'the second certificate is cut short'
send payments
openssl x509 -in "$work/issuer.pem" -outform DER | head -c 200 >"$work/short.der"
{
  echo '-----BEGIN CERTIFICATE-----'
  openssl base64 -in "$work/short.der"
  echo '-----END CERTIFICATE-----'
} >>"$name/chain.pem"
verdict refused MALFORMED_CERTIFICATE

begin expired 'judged a second after NotAfter'
put now 2030-06-02T00:00:01Z
send payments issuer
verdict refused EXPIRED

begin not-yet-valid 'judged an hour before NotBefore'
put now 2030-05-31T23:00:00Z
send payments issuer
verdict refused NOT_YET_VALID

begin not-yet-valid-within-skew 'judged 30 s before NotBefore: the skew allowance covers it'
put now 2030-05-31T23:59:30Z
send payments issuer
verdict allowed

begin expired-within-skew 'the skew allowance is for NotBefore only'
put now 2030-06-02T00:00:30Z
send payments issuer
verdict refused EXPIRED

begin expired-issuer 'the issuer of a valid leaf has expired'
leaf under-expired expired-issuer $PAYMENTS
put pinned_issuers expired-issuer.pem
send under-expired expired-issuer
verdict refused EXPIRED

begin wrong-trust-domain 'a leaf of a trust domain of which nothing is held'
leaf foreign issuer spiffe://elsewhere.org/payments
send foreign issuer
verdict refused UNKNOWN_TRUST_DOMAIN UNEXPECTED_PEER PEER_NOT_ALLOWED

begin wrong-trust-domain-known 'our issuer certifies an ID of another trust domain that we know'
rules=("$WEB -> spiffe://elsewhere.org/payments both")
put expect 'id spiffe://elsewhere.org/payments'
put second_trust_domain elsewhere.org
put second_anchors rogue-root.pem
send foreign issuer
verdict refused NO_PATH

begin rogue-root 'everything is in order, but under a root that is no anchor'
send stranger stranger-issuer rogue-root
verdict refused NO_PATH

begin true-root-merely-sent 'a rogue chain with the true issuer and root behind it'
send stranger stranger-issuer issuer root
verdict refused NO_PATH

begin bad-signature 'the last bit of the leaf is flipped'
openssl x509 -in "$work/payments.pem" -outform DER -out "$work/flipped.der"
size=$(stat -c %s "$work/flipped.der")
last=$(tail -c 1 "$work/flipped.der" | od -An -tu1)
printf "\\x$(printf %x $((last ^ 1)))" |
  dd of="$work/flipped.der" bs=1 seek=$((size - 1)) conv=notrunc status=none
openssl x509 -inform DER -in "$work/flipped.der" -out "$work/flipped.pem"
send flipped issuer
verdict refused BAD_SIGNATURE

begin path-length 'a CA below an issuer whose pathLen is 0'
leaf under-sub sub-issuer $PAYMENTS
put pinned_issuers 'issuer.pem sub-issuer.pem'
send under-sub sub-issuer issuer
verdict refused PATH_LENGTH

begin name-constraint 'the issuer may only certify URIs of another host'
leaf under-constrained constrained-issuer $PAYMENTS
put pinned_issuers constrained-issuer.pem
send under-constrained constrained-issuer
verdict refused NAME_CONSTRAINT

begin issuer-not-ca 'a leaf is certified by another leaf'
leaf under-leaf web $PAYMENTS
put pinned_issuers 'issuer.pem chain.pem'
send under-leaf web issuer
verdict refused ISSUER_NOT_CA

begin weak-issuer-key 'the issuer has an RSA key of 1024 bits'
leaf under-weak weak-issuer $PAYMENTS
put pinned_issuers weak-issuer.pem
send under-weak weak-issuer
verdict refused WEAK_KEY

begin weak-issuer-signature 'the issuer is signed over SHA-1'
certificate sha-1-issuer /O=Linchpin/CN=sha-1-issuer root $ISSUER_FROM $ISSUER_TO "$CA_USAGE" \
  -md sha1
leaf under-sha-1 sha-1-issuer $PAYMENTS
cp "$work/sha-1-issuer.pem" common/
put pinned_issuers sha-1-issuer.pem
send under-sha-1 sha-1-issuer
verdict refused WEAK_SIGNATURE

begin issuer-may-not-sign 'the issuer is a CA whose key usage lacks keyCertSign'
certificate crl-issuer /O=Linchpin/CN=crl-issuer root $ISSUER_FROM $ISSUER_TO \
  'basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,cRLSign'
leaf under-crl crl-issuer $PAYMENTS
cp "$work/crl-issuer.pem" common/
put pinned_issuers crl-issuer.pem
send under-crl crl-issuer
verdict refused ISSUER_NOT_CA

begin p-384 'issuer and leaf with P-384 keys'
key p-384-issuer -algorithm EC -pkeyopt ec_paramgen_curve:P-384
key under-p-384 -algorithm EC -pkeyopt ec_paramgen_curve:P-384
issuer p-384-issuer root
leaf under-p-384 p-384-issuer $PAYMENTS -md sha384
cp "$work/p-384-issuer.pem" common/
put pinned_issuers p-384-issuer.pem
send under-p-384 p-384-issuer
verdict allowed

begin cross-signed 'a stranger has certified the true issuer too; that one is sent'
cp "$work/issuer.key" "$work/cross-signed.key"
certificate cross-signed /O=Linchpin/CN=issuer rogue-root $ISSUER_FROM $ISSUER_TO "$CA_USAGE"
send payments cross-signed rogue-root
verdict allowed

begin cross-signed-alone 'the same, and the true certificate of the issuer is not held'
put issuers ''
send payments cross-signed rogue-root
verdict refused NO_PATH

begin twin-sent 'the twin of the issuer is no anchor, and does no harm'
cp "$work/issuer.key" "$work/twin.key"
certificate twin /O=Linchpin/CN=issuer self $ISSUER_FROM $ISSUER_TO "$CA_USAGE"
send payments twin
verdict allowed

begin twin-alone 'the twin leads to no anchor'
put issuers ''
send payments twin
verdict refused NO_PATH
