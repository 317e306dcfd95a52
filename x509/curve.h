// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The two curves of our own keys, and what this room knows of any key beyond OpenSSL's answer.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "x509/key.h"
#include "x509/openssl_ptr.h"

namespace linchpin::x509 {

// Their encodings are constant around the key itself (RFC 5480, RFC 5958, RFC 5915), so writing
// them needs none of OpenSSL's encoders and a private key passes through no other buffer.
struct Curve {
  KeyType type;
  const char* group;
  const char* name;
  size_t scalar;                   // bytes of the private key
  absl::string_view spki_prefix;   // followed by 04 X Y
  absl::string_view pkcs8_prefix;  // followed by the scalar
  absl::string_view pkcs8_middle;  // followed by 04 X Y
  Hash hash;                       // what the curve signs with

  size_t point() const { return 2 * scalar + 1; }
};

const Curve& CurveOf(KeyType type);
// The curve of a P-256 or P-384 key in its one canonical encoding: named curve, plain point. Null
// for every other.
const Curve* CanonicalCurve(absl::string_view spki);
// The same by what OpenSSL has decoded, from a private key too.
const Curve* CurveByGroup(EVP_PKEY* key);

// A public key from its point: many times faster than OpenSSL 3.0's decoder of
// SubjectPublicKeyInfo. Null if the point is not on the curve.
EvpPkeyPtr FromPoint(const Curve& curve, absl::string_view point);
// The same for one use, at a third of that: this thread's key of the curve, which has the point
// until the next call in this thread.
EVP_PKEY* LendFromPoint(const Curve& curve, absl::string_view point);

const char* NameOf(Hash hash);  // OpenSSL's
std::string GroupName(EVP_PKEY* key);
bool HasExplicitCurve(EVP_PKEY* key);
std::string Describe(EVP_PKEY* key);  // "RSA of 1024 bits"

}  // namespace linchpin::x509
