// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/issuer_request.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "x509/foreign_issuer.h"

namespace linchpin::trust {

std::string IssuerName(const x509::PublicKey& key) {
  return absl::StrCat("Linchpin issuer ", absl::BytesToHexString(key.pin().bytes().substr(0, 8)));
}

absl::StatusOr<std::string> MakeIssuerRequest(const TrustDomain& trust_domain,
                                              const x509::PrivateKey& key) {
  return x509::MakeIssuerRequest({.organization = std::string(trust_domain.name().substr(0, 64)),
                                  .common_name = IssuerName(key.public_key()),
                                  .uri_san = trust_domain.IdString()},
                                 key);
}

}  // namespace linchpin::trust
