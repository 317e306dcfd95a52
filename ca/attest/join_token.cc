// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/attest/join_token.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "x509/digest.h"

namespace linchpin::ca {

bool JoinTokenVerifier::Handles(const v1::AttestRequest& request) const {
  return request.evidence_case() == v1::AttestRequest::kJoinToken;
}

void JoinTokenVerifier::Verify(const v1::AttestRequest& request, Done done) {
  const std::string& token = request.join_token();
  if (token.empty() || token.size() > kMaxToken) {
    return done(absl::InvalidArgumentError(absl::StrCat(
        "the join token has ", token.size(), " bytes; 1 to ", kMaxToken, " are expected")));
  }
  NodeClaim claim;
  claim.join_token_sha256 = x509::Sha256(token);
  done(std::move(claim));
}

bool ExpiredCertificateVerifier::Handles(const v1::AttestRequest& request) const {
  return request.evidence_case() == v1::AttestRequest::kExpiredCertificate;
}

void ExpiredCertificateVerifier::Verify(const v1::AttestRequest& request, Done done) {
  auto certificate = x509::Certificate::FromDer(request.expired_certificate());
  if (!certificate.ok()) {
    return done(absl::InvalidArgumentError(
        absl::StrCat("the expired certificate: ", std::string(certificate.status().message()))));
  }
  NodeClaim claim;
  claim.expired_certificate = *std::move(certificate);
  done(std::move(claim));
}

}  // namespace linchpin::ca
