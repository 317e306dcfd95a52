// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a root that is kept offline is asked for: a certificate for an issuer of a trust domain.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "trust/spiffe_id.h"
#include "x509/key.h"

namespace linchpin::trust {

// The common name of an issuer: it tells the issuers of a trust domain apart by their keys.
std::string IssuerName(const x509::PublicKey& key);
// PKCS#10, DER.
absl::StatusOr<std::string> MakeIssuerRequest(const TrustDomain& trust_domain,
                                              const x509::PrivateKey& key);

}  // namespace linchpin::trust
