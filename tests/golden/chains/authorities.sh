# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
#
# Part of make.sh: keys and certificates, with the openssl program alone. Keys stay in $work and are
# thrown away: a verdict needs none.

# The world of all cases, in the notation of `openssl ca`. Leaves live on one day of 2030.
readonly ROOT_FROM=20250101000000Z ROOT_TO=20450101000000Z
readonly ISSUER_FROM=20300101000000Z ISSUER_TO=20310101000000Z
readonly LEAF_FROM=20300601000000Z LEAF_TO=20300602000000Z

readonly CA_USAGE='basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign'
readonly LEAF_USAGE='basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth'

write_config() {
  touch "$work/index.txt"
  echo 01 >"$work/serial"
  cat >"$work/ca.cnf" <<CONFIG
[ca]
default_ca = it
[it]
database = $work/index.txt
serial = $work/serial
new_certs_dir = $work
default_md = sha256
policy = any
unique_subject = no
email_in_dn = no
[any]
organizationName = optional
commonName = optional
CONFIG
}

# key NAME [openssl genpkey arguments]; P-256 without.
key() {
  local name=$1
  shift
  if [ $# -eq 0 ]; then set -- -algorithm EC -pkeyopt ec_paramgen_curve:P-256; fi
  openssl genpkey "$@" -out "$work/$name.key" 2>/dev/null
}

# certificate NAME SUBJECT ISSUER FROM TO EXTENSIONS [openssl ca arguments]: NAME.pem for the key of
# the same name, which is made if there is none. ISSUER "self": self-signed.
certificate() {
  local name=$1 subject=$2 issuer=$3 from=$4 to=$5 extensions=$6
  shift 6
  [ -e "$work/$name.key" ] || key "$name"
  [ -z "${SERIAL:-}" ] || echo "$SERIAL" >"$work/serial"
  local key_ids='subjectKeyIdentifier=hash'
  local signer=(-selfsign -keyfile "$work/$name.key")
  if [ "$issuer" != self ]; then
    key_ids+=$'\nauthorityKeyIdentifier=keyid:always'
    signer=(-cert "$work/$issuer.pem" -keyfile "$work/$issuer.key")
  fi
  case $extensions in *subjectKeyIdentifier*) key_ids=${key_ids#subjectKeyIdentifier=hash} ;; esac
  printf '%s\n%s\n' "$extensions" "$key_ids" >"$work/extensions"
  openssl req -new -key "$work/$name.key" -subj "$subject" -out "$work/request" 2>/dev/null
  openssl ca -batch -notext -preserveDN -config "$work/ca.cnf" -in "$work/request" \
    -extfile "$work/extensions" -startdate "$from" -enddate "$to" \
    "${signer[@]}" -out "$work/$name.pem" "$@" 2>"$work/log" ||
    { cat "$work/log" >&2; return 1; }
}

root() { certificate "$1" "/O=Linchpin/CN=$1" self $ROOT_FROM $ROOT_TO \
  'basicConstraints=critical,CA:TRUE,pathlen:1
keyUsage=critical,keyCertSign,cRLSign'; }
issuer() { certificate "$1" "/O=Linchpin/CN=$1" "$2" $ISSUER_FROM $ISSUER_TO "$CA_USAGE"; }

# leaf NAME ISSUER URI [openssl ca arguments]: a conforming X509-SVID.
leaf() {
  local name=$1 issuer=$2 uri=$3
  shift 3
  certificate "$name" "/O=Linchpin/CN=$name" "$issuer" $LEAF_FROM $LEAF_TO \
    "$LEAF_USAGE"$'\n'"subjectAltName=URI:$uri" "$@"
}
# odd_leaf NAME EXTENSIONS: one of the active issuer, with exactly these extensions.
odd_leaf() { certificate "$1" "/O=Linchpin/CN=$1" issuer $LEAF_FROM $LEAF_TO "$2"; }

# Everything that several cases use.
make_authorities() {
  write_config
  root root
  root rogue-root
  issuer issuer root
  issuer backup root
  issuer rogue-issuer root             # certified by the true root, pinned by nobody
  issuer stranger-issuer rogue-root    # under a root that is no anchor
  certificate namesake /O=Linchpin/CN=issuer root $ISSUER_FROM $ISSUER_TO "$CA_USAGE"
  # The namesake that even claims the true issuer's key id.
  local id
  id=$(openssl x509 -in "$work/issuer.pem" -noout -ext subjectKeyIdentifier | tail -1 | tr -d ' ')
  certificate twin-namesake /O=Linchpin/CN=issuer root $ISSUER_FROM $ISSUER_TO \
    "$CA_USAGE"$'\n'"subjectKeyIdentifier=$id"
  certificate expired-issuer /O=Linchpin/CN=expired-issuer root 20280101000000Z 20290101000000Z \
    "$CA_USAGE"
  certificate sub-issuer /O=Linchpin/CN=sub-issuer issuer $ISSUER_FROM $ISSUER_TO "$CA_USAGE"
  certificate constrained-issuer /O=Linchpin/CN=constrained-issuer root $ISSUER_FROM $ISSUER_TO \
    "$CA_USAGE"$'\nnameConstraints=critical,permitted;URI:elsewhere.org'
  key weak-issuer -algorithm RSA -pkeyopt rsa_keygen_bits:1024
  issuer weak-issuer root

  SERIAL=5000 leaf payments issuer spiffe://example.org/payments
  leaf web issuer spiffe://example.org/web
  leaf orders issuer spiffe://example.org/orders
  leaf node issuer spiffe://example.org/linchpin/node/n1
  leaf ca issuer spiffe://example.org/linchpin/ca
  leaf rogue rogue-issuer spiffe://example.org/payments
  leaf stranger stranger-issuer spiffe://example.org/payments
}
