// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/freshness.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/spiffe_id.h"
#include "trust/statement.h"
#include "trust/text.h"

namespace linchpin::trust {
namespace {

constexpr char kWhat[] = "freshness statement";

}  // namespace

absl::StatusOr<v1::Freshness> ParseFreshness(absl::string_view payload) {
  v1::Freshness statement;
  RETURN_IF_ERROR(ParseStatement(kWhat, payload, &statement));
  RETURN_IF_ERROR(
      CheckStatement(kWhat, statement.trust_domain(), statement.version(), statement.issued_at())
          .status());
  if (statement.expires_at() <= statement.issued_at() || statement.expires_at() > kLatestTime) {
    return MalformedStatement(
        kWhat, "expires_at",
        absl::StrCat(statement.expires_at(), " is not after issued_at, ", statement.issued_at()));
  }
  const int64_t life = statement.expires_at() - statement.issued_at();
  if (life > absl::ToInt64Seconds(kLongestFreshness)) {
    return MalformedStatement(kWhat, "expires_at",
                              absl::StrCat("a life of ", life, " s; at most ",
                                           absl::FormatDuration(kLongestFreshness), " is allowed"));
  }
  return statement;
}

std::string FreshnessSigningInput(absl::string_view payload) {
  return absl::StrCat("linchpin pin set freshness v1\n", payload);
}

v1::SignedFreshness SignFreshness(const v1::Freshness& statement, const x509::PrivateKey& key) {
  v1::SignedFreshness result;
  result.set_payload(statement.SerializeAsString());
  // Of a key that cannot sign the signature is empty: it verifies nowhere.
  absl::StatusOr<std::string> signature = key.Sign(FreshnessSigningInput(result.payload()));
  if (signature.ok()) result.set_signature(*signature);
  return result;
}

absl::StatusOr<v1::Freshness> VerifyFreshness(const v1::PinSet& set,
                                              const v1::SignedFreshness& statement) {
  ASSIGN_OR_RETURN(v1::Freshness parsed, ParseFreshness(statement.payload()));
  if (parsed.trust_domain() != set.trust_domain()) {
    return absl::FailedPreconditionError(absl::StrCat("the freshness statement is of trust domain ",
                                                      Quoted(parsed.trust_domain()), ", expected ",
                                                      set.trust_domain()));
  }
  const std::string& spki = set.freshness_key();
  if (spki.empty()) {
    return absl::PermissionDeniedError(
        absl::StrCat("pin set version ", set.version(), " names no key for freshness statements"));
  }
  ASSIGN_OR_RETURN(const x509::PublicKey key, x509::PublicKey::FromSpki(spki));
  if (key.Verify(FreshnessSigningInput(statement.payload()), statement.signature()).ok()) {
    return parsed;
  }
  return absl::PermissionDeniedError(
      absl::StrCat("the freshness statement is not signed with the key ", key.pin().ToString(),
                   ", which pin set version ", set.version(), " names"));
}

std::string WhyWithheld(const v1::PinSet& set, const std::optional<v1::Freshness>& newest,
                        absl::Time now) {
  if (set.freshness_key().empty()) return "";
  const uint64_t version = set.version();
  if (newest.has_value() && newest->version() > version) {
    return absl::StrCat("a freshness statement of ",
                        TimeText(absl::FromUnixSeconds(newest->issued_at())),
                        " names pin set version ", newest->version(), " as the newest, version ",
                        version, " is held: newer sets are withheld");
  }
  absl::Time until = absl::FromUnixSeconds(set.issued_at()) + kFreshAtIssue;
  if (newest.has_value()) {
    until = std::max(until, absl::FromUnixSeconds(newest->expires_at()));
  }
  if (now < until) return "";
  return absl::StrCat("no freshness statement is newer than ", TimeText(until),
                      ": sets newer than version ", version,
                      " may be withheld, or nobody made one (linchpin pins fresh)");
}

}  // namespace linchpin::trust
