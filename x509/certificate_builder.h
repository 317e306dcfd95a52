// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Makes certificates from a full specification; no default hides here (profiles are the caller's).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "x509/certificate.h"
#include "x509/key.h"

namespace linchpin::x509 {

struct CertificateSpec {
  std::string organization;  // O; may be empty
  std::string common_name;   // CN; may be empty. With both empty the SAN is critical.
  std::string serial;        // big-endian, 1 to 20 bytes, positive
  absl::Time not_before;     // whole seconds
  absl::Time not_after;
  bool is_ca = false;
  std::optional<int> path_length;
  bool digital_signature = false;
  bool key_cert_sign = false;
  bool crl_sign = false;
  bool server_auth = false;
  bool client_auth = false;
  std::vector<std::string> uri_sans;
  std::vector<std::string> dns_sans;
};

// What SignCertificate() checks of `spec` before it makes anything: consistent, and not outliving
// `issuer`. INVALID_ARGUMENT.
absl::Status CheckSpec(const CertificateSpec& spec, const Certificate& issuer);

// Signs `spec` for `subject_key`. Subject key id is the SHA-1 of the key's bits (RFC 5280
// §4.2.1.2 (1)), authority key id that of the issuer, key id only. Basic constraints and key usage
// are critical; the SAN is where the subject is empty. INVALID_ARGUMENT: a spec that is
// inconsistent or outlives `issuer`, a weak subject key, a signing key that is not the issuer's.
// Whether the issuer may issue this (CA flag, pathLen, constraints) is for path.h to judge.
absl::StatusOr<Certificate> SignCertificate(const CertificateSpec& spec,
                                            const PublicKey& subject_key, const Certificate& issuer,
                                            const PrivateKey& issuer_key);
absl::StatusOr<Certificate> SelfSign(const CertificateSpec& spec, const PrivateKey& key);

// The twin of an issuer: self-signed, with its subject, key, key id, pathLen, constraints and
// NotAfter, so that a PKIX client can be anchored at the issuer itself.
absl::StatusOr<Certificate> MakeTwin(const Certificate& issuer, const PrivateKey& issuer_key,
                                     absl::string_view serial);
// `twin` is a twin of `issuer`: all of the above holds and its own signature verifies.
bool IsTwinOf(const Certificate& twin, const Certificate& issuer);

}  // namespace linchpin::x509
