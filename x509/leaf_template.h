// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Leaves of one issuer, an X509-SVID each, for little more than their signature. What is the same
// in all of them was cut out of a certificate that SignCertificate() made and that was checked;
// serial, validity, key and names are written around it. A test holds every byte against
// SignCertificate(), and every certificate against openssl's own verdict.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "x509/certificate.h"
#include "x509/certificate_builder.h"
#include "x509/key.h"

namespace linchpin::x509 {

struct SignedLeaf {
  std::string der;
  std::string sha256;  // of der
};

// Immutable and shared: cheap to copy, safe for concurrent use.
class LeafTemplate {
 public:
  // INVALID_ARGUMENT: `issuer` cannot issue, or `issuer_key` is not its key. INTERNAL: what was cut
  // out does not make the same certificate again.
  static absl::StatusOr<LeafTemplate> Make(const Certificate& issuer, const PrivateKey& issuer_key);

  const Certificate& issuer() const;

  // The certificate that SignCertificate() makes of this, and its refusals. INVALID_ARGUMENT also
  // for what no such leaf is: a subject, another usage than digital signature for servers and
  // clients, a key that CheckLeafKey() refuses, more than Certificate::kMaxDer.
  absl::StatusOr<SignedLeaf> Sign(const CertificateSpec& spec, const PublicKey& subject_key) const;

 private:
  struct Data;
  explicit LeafTemplate(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

}  // namespace linchpin::x509
