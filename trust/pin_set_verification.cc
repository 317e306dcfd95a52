// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/pin_set.h"
#include "trust/signatures.h"
#include "trust/text.h"

namespace linchpin::trust {
namespace {

constexpr size_t kMaxSets = 1024;
// Enough of a set to say whether it is one for us, and newer; old ones are not read further.
absl::StatusOr<uint64_t> PeekVersion(const TrustDomain& trust_domain, const v1::SignedPinSet& set) {
  v1::PinSet message;
  if (!message.ParseFromString(set.payload())) {
    return absl::InvalidArgumentError("the pin set is malformed: it is no PinSet message");
  }
  if (message.trust_domain() != trust_domain.name()) {
    return absl::FailedPreconditionError(
        absl::StrCat("pin set version ", message.version(), " is of trust domain ",
                     Quoted(message.trust_domain()), ", expected ", trust_domain.name()));
  }
  return message.version();
}

absl::StatusOr<PinSet> VerifyNext(const PinSetCursor& cursor, const v1::SignedPinSet& set) {
  ASSIGN_OR_RETURN(PinSet next, ParsePinSet(set.payload()));
  const SignedBytes document{PinSetSigningInput(set.payload()), set.signatures()};
  const std::string what = absl::StrCat("pin set version ", next.message.version());
  if (!cursor.signers.empty()) {
    RETURN_IF_ERROR(CheckThreshold(cursor.signers, document, what, "previous"));
  }
  RETURN_IF_ERROR(CheckThreshold(next.signers, document, what, "set's own"));
  return next;
}

absl::Status CheckFirstContact(const AcceptedPinSets& accepted, absl::Time now) {
  const PinSetCursor& cursor = accepted.cursor;
  if (!accepted.in_force.has_value()) {
    if (cursor.signers.empty()) return absl::OkStatus();  // set 0 applies
    return absl::FailedPreconditionError(
        absl::StrCat("no signed pin set of ", cursor.trust_domain.name(),
                     " was offered at first contact; publish one, or check that this is its CA"));
  }
  if (cursor.version < cursor.minimum_version) {
    return absl::FailedPreconditionError(absl::StrCat(
        "first contact offers pin set version ", cursor.version, " of ", cursor.trust_domain.name(),
        ", at least ", cursor.minimum_version,
        " is expected: newer sets are withheld, or the CA was restored from a backup"));
  }
  const absl::Time expires = absl::FromUnixSeconds(accepted.in_force->message.expires_at());
  if (now >= expires) {
    return absl::FailedPreconditionError(
        absl::StrCat("first contact offers pin set version ", cursor.version, " of ",
                     cursor.trust_domain.name(), ", which expired at ", TimeText(expires),
                     "; it is ", TimeText(now), " here: publish a newer set, and check the clock"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AcceptedPinSets> FollowPinSets(const PinSetCursor& cursor,
                                              const std::vector<v1::SignedPinSet>& sets,
                                              absl::Time now, bool first_contact) {
  if (sets.size() > kMaxSets) {
    return absl::InvalidArgumentError(absl::StrCat("there are ", sets.size(), " pin sets, at most ",
                                                   kMaxSets, " are followed at once"));
  }
  AcceptedPinSets accepted{.cursor = cursor, .in_force = std::nullopt};
  uint64_t last = cursor.version;
  for (const v1::SignedPinSet& set : sets) {
    ASSIGN_OR_RETURN(last, PeekVersion(cursor.trust_domain, set));
    if (last <= cursor.version) continue;
    if (last <= accepted.cursor.version) {
      return absl::FailedPreconditionError(
          absl::StrCat("pin set version ", last, " comes after version ", accepted.cursor.version,
                       "; versions must increase"));
    }
    ASSIGN_OR_RETURN(PinSet next, VerifyNext(accepted.cursor, set));
    accepted.cursor.signers = next.signers;
    accepted.cursor.version = last;
    accepted.in_force = std::move(next);
  }
  if (last < accepted.cursor.version) {
    return absl::FailedPreconditionError(absl::StrCat(
        "rollback: pin set version ", last, " is offered as the newest, version ",
        accepted.cursor.version, " of ", cursor.trust_domain.name(),
        " is in force: newer sets are withheld, or the CA was restored from a backup"));
  }
  if (first_contact) RETURN_IF_ERROR(CheckFirstContact(accepted, now));
  return accepted;
}

}  // namespace linchpin::trust
