// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// This room's own helpers between OpenSSL's structures and plain values.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "x509/key.h"
#include "x509/openssl_ptr.h"

namespace linchpin::x509 {

inline const unsigned char* AsBytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string ToString(const ASN1_STRING* string);  // its bytes; empty for null

struct SubjectAltNames {
  std::vector<std::string> uris;
  std::vector<std::string> dns;
  size_t others = 0;
};
SubjectAltNames ReadAltNames(const GENERAL_NAMES* names);

// INVALID_ARGUMENT for a name that is empty, too long or not printable ASCII (an IA5String could
// carry a NUL that others read as its end).
absl::Status CheckAltNames(const std::vector<std::string>& uris,
                           const std::vector<std::string>& dns);
// An extension of URI and DNS names that CheckAltNames() lets pass.
absl::StatusOr<X509ExtensionPtr> MakeAltNames(const std::vector<std::string>& uris,
                                              const std::vector<std::string>& dns, bool critical);

// RFC 5280 §4.2.1.2 (1): "the 160-bit SHA-1 hash of the value of the BIT STRING subjectPublicKey".
// Of a key that CheckLeafKey() accepts; empty for others.
std::string KeyIdOf(const PublicKey& key);

// Writes a key that CheckLeafKey() accepts into `out` without decoding it again (which costs ten
// times more in OpenSSL 3.0). False for other keys.
bool SetPlainKey(const PublicKey& key, X509_PUBKEY* out);

// The digest that this room signs with for `key`: as strong as its curve.
const EVP_MD* SigningDigest(EVP_PKEY* key);

}  // namespace linchpin::x509
