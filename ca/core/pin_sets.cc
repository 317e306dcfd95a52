// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/pin_sets.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/freshness.h"
#include "trust/pin_concerns.h"
#include "trust/pin_set.h"
#include "trust/relax.h"
#include "trust/text.h"
#include "x509/digest.h"

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

absl::Status CheckIsNoBackup(const trust::v1::PinSet& pins, const Authority& issuer) {
  const std::string pin = issuer.certificate.public_key().pin().bytes();
  for (const trust::v1::IssuerPin& named : pins.issuers()) {
    if (named.spki_sha256() != pin || named.role() != trust::v1::IssuerPin::BACKUP) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("pin set version ", pins.version(), " names the ", issuer.state, " issuer ",
                     issuer.certificate.fields().subject,
                     " as a backup; a backup must be in no chain that lives: draft it again"));
  }
  return absl::OkStatus();
}

std::optional<trust::v1::PinSet> LastOf(const state::v1::TrustRecord& held) {
  trust::v1::PinSet set;
  if (held.pin_sets().empty()) return std::nullopt;
  if (!set.ParseFromString(held.pin_sets(held.pin_sets_size() - 1).payload())) return std::nullopt;
  return set;
}

absl::Status NothingPublished(absl::string_view what) {
  return absl::FailedPreconditionError(
      absl::StrCat("no pin set is published: ", what, " belongs to one (linchpin pins draft)"));
}

// Nodes honour each once, and so many of one version: one more would do nothing.
absl::Status CountRelax(const trust::v1::SignedRelax& document, state::v1::TrustRecord* held) {
  auto& played = *held->mutable_relaxes_played();
  const auto add = [&played](const trust::v1::SignedRelax& one) {
    const std::string id = x509::Sha256(one.payload());
    if (std::find(played.begin(), played.end(), id) != played.end()) return false;
    *played.Add() = id;
    return true;
  };
  if (held->has_relax()) add(held->relax());  // an earlier version did not
  if (!add(document)) {
    return absl::FailedPreconditionError(
        "this relax document was played before, and nodes honour it once: have its signers sign "
        "another (linchpin pins relax)");
  }
  if (static_cast<size_t>(played.size()) <= trust::kMaxRelaxes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("pin set version ", PublishedVersion(*held), " was relaxed ", trust::kMaxRelaxes,
                   " times, which is the most: publish the next set (linchpin pins draft)"));
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
  held.clear_relax();
  held.clear_relaxes_played();
  if (held.has_freshness() && !trust::VerifyFreshness(parsed.message, held.freshness()).ok()) {
    held.clear_freshness();
  }
  return held;
}

absl::StatusOr<state::v1::TrustRecord> WithRelax(const trust::TrustDomain& trust_domain,
                                                 state::v1::TrustRecord held,
                                                 const trust::v1::SignedRelax& document,
                                                 absl::Time now) {
  if (held.pin_sets().empty()) return NothingPublished("a relax document");
  ASSIGN_OR_RETURN(const trust::PinSetCursor cursor, CursorOf(trust_domain, held));
  ASSIGN_OR_RETURN(const trust::Relax relax, trust::VerifyRelax(cursor, document));
  const absl::Time latest = absl::FromUnixSeconds(relax.message.latest());
  if (now >= latest) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the relax document is good until ", trust::TimeText(latest), " and it is ",
        trust::TimeText(now), ": have its signers sign another (linchpin pins relax)"));
  }
  if (held.relax().payload() == document.payload()) return held;
  RETURN_IF_ERROR(CountRelax(document, &held));
  *held.mutable_relax() = document;
  return held;
}

absl::StatusOr<state::v1::TrustRecord> WithFreshness(state::v1::TrustRecord held,
                                                     const trust::v1::SignedFreshness& statement,
                                                     absl::Time now) {
  const std::optional<trust::v1::PinSet> set = LastOf(held);
  if (!set.has_value()) return NothingPublished("a freshness statement");
  ASSIGN_OR_RETURN(const trust::v1::Freshness made, trust::VerifyFreshness(*set, statement));
  const absl::Time expires = absl::FromUnixSeconds(made.expires_at());
  std::string fault;
  if (now >= expires) fault = absl::StrCat("it expired at ", trust::TimeText(expires));
  if (made.version() != set->version()) {
    fault = absl::StrCat("it names version ", made.version(), ", published is ", set->version());
  }
  const auto before = held.has_freshness()
                          ? trust::VerifyFreshness(*set, held.freshness())
                          : absl::StatusOr<trust::v1::Freshness>(absl::NotFoundError(""));
  if (before.ok() && before->issued_at() > made.issued_at()) {
    fault = absl::StrCat("one of ", trust::TimeText(absl::FromUnixSeconds(before->issued_at())),
                         " is published, which is newer");
  }
  if (!fault.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the freshness statement is not published: ", fault,
                     "; make one with linchpin pins fresh"));
  }
  *held.mutable_freshness() = statement;
  return held;
}

uint64_t PublishedVersion(const state::v1::TrustRecord& held) {
  const std::optional<trust::v1::PinSet> set = LastOf(held);
  return set.has_value() ? set->version() : 0;
}

std::vector<std::string> PinWarnings(const state::v1::TrustRecord& held, absl::Time now) {
  const std::optional<trust::v1::PinSet> set = LastOf(held);
  if (!set.has_value()) return {};
  trust::PinFacts facts{.set = *set};
  if (held.has_freshness()) {
    // It verified when it was published.
    const auto statement = trust::ParseFreshness(held.freshness().payload());
    if (statement.ok()) facts.freshness = *statement;
  }
  std::vector<std::string> warnings;
  for (const trust::PinConcern& concern : trust::PinConcerns(facts, now)) {
    warnings.push_back(concern.text);
  }
  return warnings;
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
    if (!authority.is_root) RETURN_IF_ERROR(CheckIsNoBackup(pins, authority));
  }
  return absl::OkStatus();
}

}  // namespace linchpin::ca
