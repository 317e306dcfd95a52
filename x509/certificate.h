// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A parsed X.509 certificate (RFC 5280). Immutable and shared: cheap to copy, safe for concurrent
// use. Parsing says only that the bytes are a certificate; judging is path.h and trust/.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "x509/key.h"

typedef struct x509_st X509;

namespace linchpin::x509 {

// What a certificate says of itself, decoded once.
struct CertificateFields {
  std::string subject;  // RFC 2253 text
  std::string issuer;
  std::string subject_der;  // for comparing names
  std::string issuer_der;
  std::string serial;  // big-endian bytes without leading zeros
  absl::Time not_before;
  absl::Time not_after;
  bool has_basic_constraints = false;
  bool is_ca = false;
  std::optional<int> path_length;
  bool has_key_usage = false;
  bool key_usage_critical = false;
  bool digital_signature = false;
  bool key_cert_sign = false;
  bool crl_sign = false;
  bool has_extended_key_usage = false;
  bool server_auth = false;
  bool client_auth = false;
  bool san_critical = false;
  std::vector<std::string> uri_sans;
  std::vector<std::string> dns_sans;
  size_t other_sans = 0;         // of other kinds
  std::string subject_key_id;    // empty if absent
  std::string authority_key_id;  // keyIdentifier only; empty if absent
  bool weak_signature = false;   // below 112 bits of security, or an unknown algorithm
};

class Certificate {
 public:
  static constexpr size_t kMaxDer = 16 * 1024;

  // INVALID_ARGUMENT: no certificate, trailing bytes, over kMaxDer, not DER, duplicate or
  // unparsable extensions, a key that cannot be decoded, a serial number that is negative or over
  // 20 bytes, dates that RFC 5280 does not allow.
  static absl::StatusOr<Certificate> FromDer(absl::string_view der);
  static absl::StatusOr<Certificate> FromPem(absl::string_view pem);  // just one

  // The references below are valid while a copy of this certificate lives.
  const std::string& der() const;
  std::string ToPem() const;
  const CertificateFields& fields() const;
  const PublicKey& public_key() const;
  const std::string& sha256() const;  // of der()
  // The signature of this certificate verifies with `issuer`'s key (names are not compared).
  bool IsSignedBy(const PublicKey& issuer) const;
  bool IsSelfIssued() const;

  bool operator==(const Certificate& other) const { return der() == other.der(); }
  X509* x509() const;  // borrowed

 private:
  struct Data;
  explicit Certificate(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

using Chain = std::vector<Certificate>;  // leaf first

// All certificates of a PEM text, in order; at most `most`. INVALID_ARGUMENT names the position of
// a bad one, or says that there is none; RESOURCE_EXHAUSTED if there are more, or over 1 MiB.
absl::StatusOr<Chain> ParsePemChain(absl::string_view pem, size_t most);
absl::StatusOr<Chain> ParseDerChain(absl::Span<const std::string> ders);
std::string ToPem(absl::Span<const Certificate> chain);

// "A1B2…" for logs and the command line.
std::string SerialText(absl::string_view serial);

}  // namespace linchpin::x509
