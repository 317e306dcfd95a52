// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/pin_upkeep.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/canary.h"
#include "trust/freshness.h"
#include "trust/judge.h"
#include "trust/text.h"

namespace linchpin::trust {
namespace {

constexpr size_t kMaxTried = 1024;  // sets at once
constexpr size_t kMaxNamed = 5;     // of those that are wrong

std::optional<uint64_t> VersionOf(const v1::SignedPinSet& set) {
  v1::PinSet message;
  if (!message.ParseFromString(set.payload())) return std::nullopt;
  return message.version();
}

absl::Time ExpiryOf(const TrustHeld& held) {
  return absl::FromUnixSeconds(held.pin_set->message.expires_at());
}

absl::Time ForRelax(const PinTimes& times) { return std::max(times.latest, times.since_relax); }

bool IsRelaxed(const TrustHeld& held) { return held.state->pins().relaxed_until() > 0; }

absl::Time RelaxedUntil(const TrustHeld& held) {
  return IsRelaxed(held) ? held.relaxed.ends_at : absl::InfinitePast();
}

void AddOnce(const std::string& der, google::protobuf::RepeatedPtrField<std::string>* ders) {
  if (std::find(ders->begin(), ders->end(), der) == ders->end()) *ders->Add() = der;
}

bool IsRoot(const x509::Certificate& certificate) {
  return certificate.IsSelfIssued() && certificate.IsSignedBy(certificate.public_key());
}

// The CA plays one that is past by the local clock alone: that clock may be ahead. One that is past
// by the CA's, too, is late everywhere.
std::optional<PinConcern> MissedRelax(const TrustHeld& held, const PinTimes& times) {
  if (!held.message.has_relax() || times.agreed == absl::InfinitePast()) return std::nullopt;
  const absl::StatusOr<Relax> relax = ParseRelax(held.message.relax().payload());
  if (!relax.ok()) return std::nullopt;
  const absl::Time date = absl::FromUnixSeconds(relax->message.latest());
  if (times.latest < date || times.agreed >= date) return std::nullopt;
  // Whether it would begin a moment before.
  Relaxed with = held.relaxed;
  const absl::Status status =
      Honour(held.cursor, held.message.relax(), date - absl::Seconds(1), &with);
  if (!status.ok() || with == held.relaxed) return std::nullopt;
  const std::string text = TimeText(date);
  return PinConcern{
      "relax_missed", text,
      absl::StrCat("the relax document that the CA plays is past its latest date, ", text,
                   ", by this machine's clock and not by the CA's: it begins "
                   "here once the clock is set right")};
}

// With a newer set all that the CA showed are candidates. Without one, only a root that the set in
// force names and whose certificate is not here: one for each such key, and nothing that a stranger
// could make.
absl::Status AddCandidates(const std::vector<std::string>& chain, const TrustHeld& held, bool newer,
                           v1::TrustState* message) {
  if (chain.size() > kMaxChainCertificates) {
    return absl::InvalidArgumentError(absl::StrCat("the CA sent ", chain.size(),
                                                   " certificates, at most ", kMaxChainCertificates,
                                                   " are allowed"));
  }
  ASSIGN_OR_RETURN(const x509::Chain parsed, x509::ParseDerChain(chain));
  const auto& pinned = held.pin_set->message.anchors();
  for (size_t i = 1; i < parsed.size(); ++i) {
    const bool root = IsRoot(parsed[i]);
    if (newer) {
      AddOnce(parsed[i].der(), root ? message->mutable_anchors() : message->mutable_issuers());
      continue;
    }
    const x509::SpkiPin& pin = parsed[i].public_key().pin();
    const bool named = std::any_of(pinned.begin(), pinned.end(), [&](const v1::AnchorPin& anchor) {
      return anchor.spki_sha256() == pin.bytes();
    });
    const x509::Chain& anchors = held.state->anchors();
    const bool here = std::any_of(anchors.begin(), anchors.end(), [&](const auto& anchor) {
      return anchor.public_key().pin() == pin;
    });
    if (root && named && !here) AddOnce(parsed[i].der(), message->mutable_anchors());
  }
  return absl::OkStatus();
}

// The newest that is of the key that `set` names.
void AddFreshness(const v1::PinSet& set, const Carriers& carriers, v1::TrustState* incoming,
                  std::vector<std::string>* faults) {
  int64_t newest = 0;
  for (const v1::PinDocuments& carrier : carriers) {
    if (!carrier.has_freshness()) continue;
    const absl::StatusOr<v1::Freshness> statement = VerifyFreshness(set, carrier.freshness());
    if (!statement.ok()) {
      faults->emplace_back(statement.status().message());
    } else if (statement->issued_at() > newest) {
      newest = statement->issued_at();
      *incoming->mutable_freshness() = carrier.freshness();
    }
  }
}

// Of those that may be honoured now the one that ends last. One at a time: what lies beside the one
// that runs is not used up by it. `played` by the CA: what is wrong with it was said when it came.
void AddRelax(const TrustHeld& held, const Carriers& carriers, const v1::TrustState& played,
              absl::Time now, v1::TrustState* incoming, std::vector<std::string>* faults) {
  const PinSetCursor& cursor = held.cursor;
  const Relaxed& relaxed = held.relaxed;
  const bool runs = IsRelaxed(held);
  absl::Time ends_at = absl::InfinitePast();
  for (const v1::PinDocuments& carrier : carriers) {
    if (!carrier.has_relax()) continue;
    Relaxed with = relaxed;
    const absl::Status status = Honour(cursor, carrier.relax(), now, &with);
    if (!status.ok()) {
      faults->emplace_back(status.message());
    } else if (with == relaxed) {
      if (runs) continue;
      faults->push_back(absl::StrCat(
          "the relax document does nothing: it was honoured here before, is of an older version "
          "than ",
          cursor.version, ", or is past its latest date; sign another (linchpin pins relax)"));
    } else if (runs) {
      faults->push_back(absl::StrCat("another relax document waits for the one that runs, until ",
                                     TimeText(relaxed.ends_at),
                                     "; it begins then, unless it is taken away before"));
    } else if (with.ends_at > ends_at) {
      ends_at = with.ends_at;
      *incoming->mutable_relax() = carrier.relax();
    }
  }
  if (runs || !played.has_relax()) return;
  Relaxed with = relaxed;
  const absl::Status status = Honour(cursor, played.relax(), now, &with);
  if (status.ok() && with != relaxed && with.ends_at > ends_at) {
    *incoming->mutable_relax() = played.relax();
  }
}

}  // namespace

absl::StatusOr<std::optional<TrustHeld>> PinsAt(const TrustHeld& held, const PinTimes& times) {
  if (held.state == nullptr || held.pin_set == nullptr) return std::nullopt;
  const bool for_good = held.pin_set->message.on_expiry() == v1::PinSet::FAIL_CLOSED;
  const bool expired =
      held.expired || (for_good ? times.agreed_once : times.agreed) >= ExpiryOf(held);
  const int64_t relaxed_until =
      ForRelax(times) < held.relaxed.ends_at ? absl::ToUnixSeconds(held.relaxed.ends_at) : 0;
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
  next.expired = for_good && expired;
  ASSIGN_OR_RETURN(next.state, TrustState::Make(std::move(parts)));
  next.canaries = JudgeCanaries(next.state, held.message.canaries(), times.latest);
  return next;
}

absl::Duration UntilPinsChange(const TrustHeld& held, const PinTimes& times) {
  if (held.state == nullptr || held.pin_set == nullptr) return absl::InfiniteDuration();
  absl::Duration until = absl::InfiniteDuration();
  for (const absl::Time agreed : {times.agreed, times.agreed_once}) {
    if (agreed < ExpiryOf(held)) until = std::min(until, ExpiryOf(held) - agreed);
  }
  if (ForRelax(times) < held.relaxed.ends_at) {
    until = std::min(until, held.relaxed.ends_at - ForRelax(times));
  }
  return until;
}

std::vector<v1::SignedPinSet> SetsThatFollow(PinSetCursor cursor, const Carriers& carriers,
                                             absl::Time now, std::vector<std::string>* faults) {
  std::multimap<uint64_t, const v1::SignedPinSet*> offered;  // of one version in their order
  for (const v1::PinDocuments& carrier : carriers) {
    for (const v1::SignedPinSet& set : carrier.pin_sets()) {
      // What cannot be read is named as of the next version.
      const uint64_t version = VersionOf(set).value_or(cursor.version + 1);
      if (version > cursor.version && offered.size() < kMaxTried) offered.emplace(version, &set);
    }
  }
  std::vector<v1::SignedPinSet> follow;
  size_t wrong = 0;
  for (const auto& [version, set] : offered) {
    if (version <= cursor.version) continue;  // another one of it was good
    absl::StatusOr<AcceptedPinSets> accepted = FollowPinSets(cursor, {*set}, now, false);
    if (accepted.ok()) {
      cursor = std::move(accepted->cursor);
      follow.push_back(*set);
    } else if (faults != nullptr && ++wrong <= kMaxNamed) {
      faults->emplace_back(accepted.status().message());
    }
  }
  if (wrong > kMaxNamed) {
    faults->push_back(absl::StrCat(wrong - kMaxNamed, " more sets are not taken either"));
  }
  return follow;
}

absl::StatusOr<TakenDocuments> TakeDocuments(const TrustHeld& held, const Carriers& carriers,
                                             const std::vector<std::string>& chain,
                                             const AcceptOptions& options) {
  TakenDocuments taken;
  if (held.pin_set == nullptr) return taken;
  v1::TrustState incoming = held.message;
  incoming.clear_relax();
  incoming.clear_freshness();
  const std::vector<v1::SignedPinSet> sets =
      SetsThatFollow(held.cursor, carriers, options.now, &taken.faults);
  for (const v1::SignedPinSet& set : sets) *incoming.add_pin_sets() = set;
  RETURN_IF_ERROR(AddCandidates(chain, held, !sets.empty(), &incoming));
  ASSIGN_OR_RETURN(TrustHeld next, AcceptTrust(held, incoming, options));
  // What is said of a set is judged by the one that is in force then.
  v1::TrustState said = next.message;
  AddFreshness(next.pin_set->message, carriers, &said, &taken.faults);
  AddRelax(next, carriers, held.message, std::max(options.now, options.latest), &said,
           &taken.faults);
  ASSIGN_OR_RETURN(next, AcceptTrust(next, said, options));
  if (held.message.has_relax()) *next.message.mutable_relax() = held.message.relax();
  const bool news =
      next.cursor.version != held.cursor.version || next.relaxed != held.relaxed ||
      next.state->path_digest() != held.state->path_digest() ||
      next.message.freshness().SerializeAsString() != held.message.freshness().SerializeAsString();
  if (!news) return taken;
  next.refused = held.refused;  // what the CA offers is as it was
  taken.held = std::move(next);
  return taken;
}

std::vector<PinConcern> ConcernsOf(const TrustHeld& held, const PinTimes& times) {
  if (held.pin_set == nullptr) return {};
  std::vector<PinConcern> concerns = PinConcerns({.set = held.pin_set->message,
                                                  .freshness = held.freshness,
                                                  .relaxed_until = RelaxedUntil(held)},
                                                 times.latest);
  if (std::optional<PinConcern> missed = MissedRelax(held, times)) concerns.push_back(*missed);
  return concerns;
}

absl::Time NextConcernOf(const TrustHeld& held, absl::Time now) {
  if (held.pin_set == nullptr) return absl::InfiniteFuture();
  return NextPinConcern({.set = held.pin_set->message,
                         .freshness = held.freshness,
                         .relaxed_until = RelaxedUntil(held)},
                        now);
}

}  // namespace linchpin::trust
