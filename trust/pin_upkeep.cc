// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/pin_upkeep.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/canary.h"
#include "trust/judge.h"

namespace linchpin::trust {
namespace {

std::optional<uint64_t> VersionOf(const v1::SignedPinSet& set) {
  v1::PinSet message;
  if (!message.ParseFromString(set.payload())) return std::nullopt;
  return message.version();
}

absl::Time ExpiryOf(const TrustHeld& held) {
  return absl::FromUnixSeconds(held.pin_set->message.expires_at());
}

void AddOnce(const std::string& der, google::protobuf::RepeatedPtrField<std::string>* ders) {
  if (std::find(ders->begin(), ders->end(), der) == ders->end()) *ders->Add() = der;
}

absl::Status AddCandidates(const std::vector<std::string>& chain, v1::TrustState* message) {
  if (chain.size() > kMaxChainCertificates) {
    return absl::InvalidArgumentError(absl::StrCat("the CA sent ", chain.size(),
                                                   " certificates, at most ", kMaxChainCertificates,
                                                   " are allowed"));
  }
  ASSIGN_OR_RETURN(const x509::Chain parsed, x509::ParseDerChain(chain));
  for (size_t i = 1; i < parsed.size(); ++i) {
    const bool root = parsed[i].IsSelfIssued() && parsed[i].IsSignedBy(parsed[i].public_key());
    AddOnce(parsed[i].der(), root ? message->mutable_anchors() : message->mutable_issuers());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<TrustHeld>> PinsAt(const TrustHeld& held, const PinTimes& times) {
  if (held.state == nullptr || held.pin_set == nullptr) return std::nullopt;
  const bool expired = times.agreed >= ExpiryOf(held);
  const int64_t relaxed_until =
      times.latest < held.relaxed.ends_at ? absl::ToUnixSeconds(held.relaxed.ends_at) : 0;
  const v1::EffectivePins& now = held.state->pins();
  if (now.expired() == expired && now.relaxed_until() == relaxed_until) return std::nullopt;
  TrustStateParts parts{.trust_domain = held.cursor.trust_domain,
                        .epoch = held.state->epoch(),
                        .anchors = held.state->anchors(),
                        .issuers = held.state->issuers(),
                        .pins = now,
                        .revocations = held.state->revocations(),
                        .skew = held.state->skew()};
  parts.pins.set_expired(expired);
  parts.pins.set_relaxed_until(relaxed_until);
  TrustHeld next = held;
  ASSIGN_OR_RETURN(next.state, TrustState::Make(std::move(parts)));
  next.canaries = JudgeCanaries(next.state, held.message.canaries(), times.latest);
  return next;
}

absl::Duration UntilPinsChange(const TrustHeld& held, const PinTimes& times) {
  if (held.state == nullptr || held.pin_set == nullptr) return absl::InfiniteDuration();
  absl::Duration until = absl::InfiniteDuration();
  if (times.agreed < ExpiryOf(held)) until = ExpiryOf(held) - times.agreed;
  if (times.latest < held.relaxed.ends_at) {
    until = std::min(until, held.relaxed.ends_at - times.latest);
  }
  return until;
}

absl::StatusOr<std::optional<TrustHeld>> TakeDocuments(const TrustHeld& held,
                                                       const v1::PinDocuments& documents,
                                                       const std::vector<std::string>& chain,
                                                       const AcceptOptions& options) {
  if (held.pin_set == nullptr) return std::nullopt;
  v1::TrustState incoming = held.message;
  incoming.clear_relax();
  incoming.clear_freshness();
  bool newer = false;
  for (const v1::SignedPinSet& set : documents.pin_sets()) {
    const std::optional<uint64_t> version = VersionOf(set);
    // What cannot be read is refused with the others, whole.
    if (version.has_value() && *version <= held.cursor.version) continue;
    *incoming.add_pin_sets() = set;
    newer = true;
  }
  if (documents.has_relax()) *incoming.mutable_relax() = documents.relax();
  if (documents.has_freshness()) *incoming.mutable_freshness() = documents.freshness();
  if (newer) RETURN_IF_ERROR(AddCandidates(chain, &incoming));
  ASSIGN_OR_RETURN(TrustHeld next, AcceptTrust(held, incoming, options));
  const bool news =
      next.cursor.version != held.cursor.version || next.relaxed != held.relaxed ||
      next.message.freshness().SerializeAsString() != held.message.freshness().SerializeAsString();
  if (!news) return std::nullopt;
  return next;
}

v1::PinDocuments MergeDocuments(const v1::PinDocuments& first, const v1::PinDocuments& second) {
  std::map<uint64_t, const v1::SignedPinSet*> sets;
  v1::PinDocuments merged;
  merged.set_trust_domain(first.trust_domain());
  for (const v1::PinDocuments* source : {&first, &second}) {
    for (const v1::SignedPinSet& set : source->pin_sets()) {
      sets.emplace(VersionOf(set).value_or(0), &set);
    }
    if (source->has_relax() && !merged.has_relax()) *merged.mutable_relax() = source->relax();
    if (source->has_freshness() && !merged.has_freshness()) {
      *merged.mutable_freshness() = source->freshness();
    }
  }
  for (const auto& [version, set] : sets) *merged.add_pin_sets() = *set;
  return merged;
}

std::vector<PinConcern> ConcernsOf(const TrustHeld& held, absl::Time now) {
  if (held.pin_set == nullptr) return {};
  return PinConcerns({.set = held.pin_set->message,
                      .freshness = held.freshness,
                      .relaxed_until = held.relaxed.ends_at},
                     now);
}

absl::Time NextConcernOf(const TrustHeld& held, absl::Time now) {
  if (held.pin_set == nullptr) return absl::InfiniteFuture();
  return NextPinConcern({.set = held.pin_set->message,
                         .freshness = held.freshness,
                         .relaxed_until = held.relaxed.ends_at},
                        now);
}

}  // namespace linchpin::trust
