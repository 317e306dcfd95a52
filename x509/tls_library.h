// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The library context of OpenSSL in which TLS decodes what a peer sends.
//
// OpenSSL before 3.2 looks for the decoder of a certificate's key among all that it has, some
// forty, and for the key's type among all algorithms of its context, some two hundred, each time:
// two thirds of what decoding a certificate costs, and a tenth of a handshake. So, where the host
// uses OpenSSL as it comes, TLS is given a context of its own with the stock default provider less
// - all decoders but those of public keys that can sign in TLS 1.3 (RFC 8446 section 4.2.3: EC,
// RSA,
//   RSA-PSS, Ed25519, Ed448). A key of any other type stays undecoded there, and so does a private
//   key in a file: read keys in the default context;
// - all ciphers but those of TLS 1.3 (RFC 8446 section B.4) and of its tickets.
// All else is the stock provider's, and what openssl.cnf says of TLS (ssl_conf) holds as
// everywhere.
//
// Where the host has made a choice of its own, that choice is kept: TLS stays in the host's default
// context as soon as
// - another provider than the stock default one is active there, or that one is not; or FIPS is on;
// - the thread has a default context of its own (OSSL_LIB_CTX_set0_default);
// - an engine handles keys;
// - openssl.cnf configures anything but providers, ssl_conf, oid_section and stbl_section: default
//   properties (alg_section), engines, the random generator; or cannot be parsed;
// - default properties that the program has set forbid what TLS needs. (Others have no effect while
//   there is but one provider.)
#pragma once

#include <openssl/types.h>

#include <string>

namespace linchpin::x509 {

struct TlsLibrary {
  // For SSL_CTX_new_ex(). Null: the default one. Otherwise the same at every call, and never freed:
  // it outlives whatever was made in it.
  OSSL_LIB_CTX* context = nullptr;
  std::string why;  // a sentence for logs: which it is, and why
};

// Looks at the host as it is now; openssl.cnf is read once, as OpenSSL itself does. Any thread.
// A key made in either context can be used in the other: OpenSSL copies it the first time.
TlsLibrary ChooseTlsLibrary();

}  // namespace linchpin::x509
