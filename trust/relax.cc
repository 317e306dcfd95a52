// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/relax.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/signatures.h"
#include "trust/text.h"
#include "trust/unknown_fields.h"
#include "x509/digest.h"

namespace linchpin::trust {
namespace {

constexpr size_t kMaxPayload = 4096;
constexpr int64_t kLatestTime = 253402300799;  // 9999-12-31T23:59:59Z, RFC 5280 §4.1.2.5

absl::Status Malformed(absl::string_view entry, absl::string_view fault) {
  return absl::InvalidArgumentError(
      absl::StrCat("the relax document is malformed: ", entry, ": ", fault));
}

}  // namespace

absl::StatusOr<Relax> ParseRelax(absl::string_view payload) {
  if (payload.empty() || payload.size() > kMaxPayload) {
    return Malformed("payload", absl::StrCat("it has ", payload.size(), " bytes, 1 to ",
                                             kMaxPayload, " are expected"));
  }
  v1::Relax relax;
  if (!relax.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return Malformed("payload", "these bytes are no Relax message");
  }
  if (std::string unknown = FirstUnknownField(relax); !unknown.empty()) {
    return Malformed(unknown, "it is unknown here; a newer program is needed to read it");
  }
  absl::StatusOr<TrustDomain> trust_domain = TrustDomain::FromName(relax.trust_domain());
  if (!trust_domain.ok()) return Malformed("trust_domain", trust_domain.status().message());
  if (relax.version() == 0) return Malformed("version", "it is 0; set 0 is not signed");
  if (relax.scope() != v1::Relax::ISSUER_PINS) {
    return Malformed("scope", "only the issuers' pins can be relaxed");
  }
  if (relax.issued_at() <= 0 || relax.issued_at() > kLatestTime) {
    return Malformed("issued_at", absl::StrCat(relax.issued_at(), " is no time of issue"));
  }
  if (relax.latest() <= relax.issued_at() || relax.latest() > kLatestTime) {
    return Malformed("latest",
                     absl::StrCat(relax.latest(), " is not after issued_at, ", relax.issued_at()));
  }
  if (relax.max_seconds() < absl::ToInt64Seconds(kShortestRelax) ||
      relax.max_seconds() > absl::ToInt64Seconds(kLongestRelax)) {
    return Malformed("max_seconds",
                     absl::StrCat(relax.max_seconds(), "; ", absl::FormatDuration(kShortestRelax),
                                  " to ", absl::FormatDuration(kLongestRelax), " are allowed"));
  }
  return Relax{*std::move(trust_domain), std::move(relax)};
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
