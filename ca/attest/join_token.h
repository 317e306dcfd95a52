// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Join tokens as evidence: only their hash goes further.
#pragma once

#include "ca/attest/node_verifier.h"

namespace linchpin::ca {

class JoinTokenVerifier final : public NodeVerifier {
 public:
  static constexpr size_t kMaxToken = 256;
  bool Handles(const v1::AttestRequest& request) const override;
  void Verify(const v1::AttestRequest& request, Done done) override;
};

// A node's own certificate, expired, as evidence.
class ExpiredCertificateVerifier final : public NodeVerifier {
 public:
  bool Handles(const v1::AttestRequest& request) const override;
  void Verify(const v1::AttestRequest& request, Done done) override;
};

}  // namespace linchpin::ca
