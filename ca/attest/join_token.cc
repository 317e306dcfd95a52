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
  done(NodeClaim{.join_token_sha256 = x509::Sha256(token), .expired_certificate = std::nullopt});
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
  done(NodeClaim{.join_token_sha256 = "", .expired_certificate = *std::move(certificate)});
}

}  // namespace linchpin::ca
