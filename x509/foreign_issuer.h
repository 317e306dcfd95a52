// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// An issuer that a CA of others certifies: what is asked of that CA, and what to look at in what it
// made.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "x509/certificate.h"
#include "x509/key.h"

namespace linchpin::x509 {

struct IssuerRequest {
  std::string organization;
  std::string common_name;
  std::string uri_san;
};
// A PKCS#10 request (RFC 2986) for an issuing CA of pathLen 0, in DER. INVALID_ARGUMENT: a name
// that no certificate can carry.
absl::StatusOr<std::string> MakeIssuerRequest(const IssuerRequest& asked, const PrivateKey& key);

// An extension for which leaves under this CA would not be taken, by us or by others: constraints
// of names or policies, or a critical one that is not known. Its name; empty if there is none.
std::string HinderingExtension(const Certificate& ca);

// As path validation of any kind may compare names (RFC 5280 section 7.1): without regard to case,
// white space and the type of string.
bool HaveSameSubject(const Certificate& a, const Certificate& b);

}  // namespace linchpin::x509
