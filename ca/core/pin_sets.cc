// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/pin_sets.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/pin_set.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

std::string SignersOf(const trust::v1::SignedPinSet& set) {
  trust::v1::PinSet message;
  message.ParseFromString(set.payload());
  std::vector<std::string> keys(message.signers().keys().begin(), message.signers().keys().end());
  std::sort(keys.begin(), keys.end());
  std::string text = absl::StrCat(message.signers().threshold());
  for (const std::string& key : keys) absl::StrAppend(&text, ":", key);
  return text;
}

absl::StatusOr<trust::PinSetCursor> CursorOf(const trust::TrustDomain& trust_domain,
                                             const state::v1::TrustRecord& held) {
  trust::PinSetCursor cursor{
      .trust_domain = trust_domain, .signers = {}, .version = 0, .minimum_version = 0};
  if (held.pin_sets().empty()) return cursor;
  ASSIGN_OR_RETURN(const trust::PinSet last,
                   trust::ParsePinSet(held.pin_sets(held.pin_sets_size() - 1).payload()));
  cursor.signers = last.signers;
  cursor.version = last.message.version();
  return cursor;
}

template <typename Entries>
bool Names(const Entries& entries, const x509::Certificate& certificate) {
  const std::string pin = certificate.public_key().pin().bytes();
  return std::any_of(entries.begin(), entries.end(),
                     [&](const auto& entry) { return entry.spki_sha256() == pin; });
}

absl::Status WouldLockOut(uint64_t version, const Authority& authority, absl::string_view list) {
  return absl::FailedPreconditionError(
      absl::StrCat("pin set version ", version, " does not name the ", authority.state, " ",
                   authority.is_root ? "root " : "issuer ", authority.certificate.fields().subject,
                   " (", authority.certificate.public_key().pin().ToString(), ") among its ", list,
                   ": every node would refuse this CA; draft the set again from ca pins"));
}

}  // namespace

absl::StatusOr<state::v1::TrustRecord> WithPinSet(const trust::TrustDomain& trust_domain,
                                                  state::v1::TrustRecord held,
                                                  const trust::v1::SignedPinSet& set,
                                                  absl::Time now) {
  ASSIGN_OR_RETURN(const trust::PinSet parsed, trust::ParsePinSet(set.payload()));
  ASSIGN_OR_RETURN(const trust::PinSetCursor cursor, CursorOf(trust_domain, held));
  const uint64_t version = parsed.message.version();
  if (version <= cursor.version) {
    return absl::FailedPreconditionError(
        absl::StrCat("pin set version ", version, " is not newer than version ", cursor.version,
                     ", which is in force; draft the next version"));
  }
  RETURN_IF_ERROR(trust::FollowPinSets(cursor, {set}, now, false).status());
  const absl::Time expires = absl::FromUnixSeconds(parsed.message.expires_at());
  if (now >= expires) {
    return absl::FailedPreconditionError(absl::StrCat("pin set version ", version, " expired at ",
                                                      trust::TimeText(expires), " and it is ",
                                                      trust::TimeText(now), "; draft it again"));
  }
  const int count = held.pin_sets_size();
  if (count >= 2 && SignersOf(held.pin_sets(count - 1)) == SignersOf(held.pin_sets(count - 2))) {
    held.mutable_pin_sets()->RemoveLast();
  }
  if (held.pin_sets_size() >= kMaxPinSets) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the signers have changed ", kMaxPinSets, " times, which is the most"));
  }
  *held.add_pin_sets() = set;
  return held;
}

absl::Status CheckCovers(const trust::v1::SignedPinSet& set, const Authorities& authorities,
                         const std::set<std::string>& leaving, absl::Time now) {
  trust::v1::PinSet pins;
  pins.ParseFromString(set.payload());
  for (const Authority& authority : authorities.all()) {
    if (authority.withheld || leaving.count(authority.record_key) > 0) continue;
    const bool in_use = (authority.state == kActive || authority.state == kRetiring ||
                         authority.state == kPrepared) &&
                        authority.certificate.fields().not_after > now;
    if (!in_use) continue;
    if (authority.is_root && !Names(pins.anchors(), authority.certificate)) {
      return WouldLockOut(pins.version(), authority, "anchors");
    }
    if (!authority.is_root && !pins.any_under_anchor() &&
        !Names(pins.issuers(), authority.certificate)) {
      return WouldLockOut(pins.version(), authority, "issuers");
    }
  }
  const std::string active = authorities.active().certificate.public_key().pin().bytes();
  for (const trust::v1::IssuerPin& issuer : pins.issuers()) {
    if (issuer.spki_sha256() != active || issuer.role() != trust::v1::IssuerPin::BACKUP) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("pin set version ", pins.version(),
                     " names the active issuer as a backup; a backup must not be in use"));
  }
  return absl::OkStatus();
}

}  // namespace linchpin::ca
