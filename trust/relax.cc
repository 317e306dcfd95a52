// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/relax.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/signatures.h"
#include "trust/statement.h"
#include "trust/text.h"
#include "x509/digest.h"

namespace linchpin::trust {
namespace {

constexpr char kWhat[] = "relax document";

}  // namespace

absl::StatusOr<Relax> ParseRelax(absl::string_view payload) {
  v1::Relax relax;
  RETURN_IF_ERROR(ParseStatement(kWhat, payload, &relax));
  ASSIGN_OR_RETURN(TrustDomain trust_domain,
                   CheckStatement(kWhat, relax.trust_domain(), relax.version(), relax.issued_at()));
  if (relax.scope() != v1::Relax::ISSUER_PINS) {
    return MalformedStatement(kWhat, "scope", "only the issuers' pins can be relaxed");
  }
  if (relax.latest() <= relax.issued_at() || relax.latest() > kLatestTime) {
    return MalformedStatement(
        kWhat, "latest",
        absl::StrCat(relax.latest(), " is not after issued_at, ", relax.issued_at()));
  }
  if (relax.max_seconds() < absl::ToInt64Seconds(kShortestRelax) ||
      relax.max_seconds() > absl::ToInt64Seconds(kLongestRelax)) {
    return MalformedStatement(
        kWhat, "max_seconds",
        absl::StrCat(relax.max_seconds(), "; ", absl::FormatDuration(kShortestRelax), " to ",
                     absl::FormatDuration(kLongestRelax), " are allowed"));
  }
  return Relax{std::move(trust_domain), std::move(relax)};
}

std::string RelaxSigningInput(absl::string_view payload) {
  return absl::StrCat("linchpin relax v1\n", payload);
}

v1::Signature SignRelax(absl::string_view payload, const x509::PrivateKey& signer) {
  return SignBytes(RelaxSigningInput(payload), signer);
}

absl::StatusOr<Relax> VerifyRelax(const PinSetCursor& cursor, const v1::SignedRelax& document) {
  ASSIGN_OR_RETURN(Relax relax, ParseRelax(document.payload()));
  if (relax.trust_domain != cursor.trust_domain) {
    return absl::FailedPreconditionError(absl::StrCat("the relax document is of trust domain ",
                                                      Quoted(relax.trust_domain.name()),
                                                      ", expected ", cursor.trust_domain.name()));
  }
  if (cursor.signers.empty() || relax.message.version() != cursor.version) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the relax document is for pin set version ", relax.message.version(), ", in force is ",
        cursor.version == 0 ? "the unsigned set 0" : absl::StrCat("version ", cursor.version)));
  }
  RETURN_IF_ERROR(CheckThreshold(
      cursor.signers, {RelaxSigningInput(document.payload()), document.signatures()},
      absl::StrCat("the relax document for pin set version ", cursor.version), "set's"));
  return relax;
}

absl::Status Honour(const PinSetCursor& cursor, const v1::SignedRelax& document, absl::Time now,
                    Relaxed* relaxed) {
  ASSIGN_OR_RETURN(const Relax peeked, ParseRelax(document.payload()));
  const bool ended =
      peeked.trust_domain == cursor.trust_domain && peeked.message.version() < cursor.version;
  if (ended) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Relax relax, VerifyRelax(cursor, document));
  const std::string id = x509::Sha256(document.payload());
  if (std::find(relaxed->used.begin(), relaxed->used.end(), id) != relaxed->used.end()) {
    return absl::OkStatus();
  }
  const absl::Time latest = absl::FromUnixSeconds(relax.message.latest());
  if (now >= latest) return absl::OkStatus();
  if (relaxed->used.size() >= kMaxRelaxes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("pin set version ", cursor.version, " was relaxed ", kMaxRelaxes,
                     " times, which is the most: publish the next set"));
  }
  relaxed->used.push_back(id);
  relaxed->began_at = now;
  relaxed->ends_at = std::min(now + absl::Seconds(relax.message.max_seconds()), latest);
  return absl::OkStatus();
}

}  // namespace linchpin::trust
