// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// PKCS#10 requests (RFC 2986): how a node proves that it holds a key. The registry decides what is
// certified; a request that asks for something is read only so that a mismatch can be refused.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "x509/key.h"

namespace linchpin::x509 {

// A request for `key` that asks for nothing, or for one URI SAN. DER.
absl::StatusOr<std::string> MakeCertificateRequest(const PrivateKey& key,
                                                   absl::string_view uri_san = "");

class CertificateRequest {
 public:
  static constexpr size_t kMaxDer = 8 * 1024;

  // Parses and verifies the proof of possession. INVALID_ARGUMENT: empty, over kMaxDer, not DER,
  // trailing bytes, a key that CheckLeafKey() refuses, a signature by less than SHA-256.
  // PERMISSION_DENIED: the proof does not verify.
  static absl::StatusOr<CertificateRequest> FromDer(absl::string_view der);

  const PublicKey& public_key() const { return public_key_; }
  const std::vector<std::string>& uri_sans() const { return uri_sans_; }
  const std::vector<std::string>& dns_sans() const { return dns_sans_; }
  bool asks_for_other_sans() const { return asks_for_other_sans_; }
  bool asks_for_ca() const { return asks_for_ca_; }

 private:
  explicit CertificateRequest(PublicKey key) : public_key_(std::move(key)) {}
  PublicKey public_key_;
  std::vector<std::string> uri_sans_;
  std::vector<std::string> dns_sans_;
  bool asks_for_other_sans_ = false;
  bool asks_for_ca_ = false;
};

}  // namespace linchpin::x509
