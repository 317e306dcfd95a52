// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/trust_acceptance.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/canary.h"
#include "trust/freshness.h"
#include "trust/text.h"
#include "x509/digest.h"

namespace linchpin::trust {
namespace {

constexpr int kMaxCertificates = 256;
constexpr uint64_t kNone = 0;    // no pin set
constexpr size_t kMaxLife = 64;  // bytes kept of its name; a CA of this project draws 16

absl::Status CheckOrigin(const TrustHeld& held, const v1::TrustState& incoming,
                         const AcceptOptions& options) {
  if (incoming.trust_domain() != held.cursor.trust_domain.name()) {
    return absl::FailedPreconditionError(
        absl::StrCat("a trust state of ", Quoted(incoming.trust_domain()),
                     " is offered, expected trust domain ", held.cursor.trust_domain.name()));
  }
  const bool left = WasLeft(held, options.incarnation);
  const bool another_life = !options.incarnation.empty() && options.incarnation != held.incarnation;
  const bool back = incoming.epoch() < held.message.epoch() && !another_life;
  if (held.state != nullptr && (back || left)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "trust epoch ", incoming.epoch(), " of ", incoming.trust_domain(), " is offered, epoch ",
        held.message.epoch(), " is held already: trust does not go back",
        left ? ", whatever its number, to a life of the CA's store that was left for another once"
             : "",
        ". If the CA's store was put back from a copy",
        left ? ", or the CA went back to this one and stays here" : "", ": linchpin ca restored"));
  }
  if (incoming.anchors_size() > kMaxCertificates || incoming.issuers_size() > kMaxCertificates ||
      incoming.declared_issuers_size() > kMaxCertificates) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the trust state of ", incoming.trust_domain(), " has ", incoming.anchors_size(),
        " anchors, ", incoming.issuers_size(), " issuers and ", incoming.declared_issuers_size(),
        " declared issuers; at most ", kMaxCertificates, " of each are allowed"));
  }
  return absl::OkStatus();
}

// Which set a CA says is the newest; none: it offers what FollowPinSets has to name.
std::optional<uint64_t> NewestOffered(const v1::TrustState& incoming) {
  uint64_t newest = kNone;
  for (const v1::SignedPinSet& set : incoming.pin_sets()) {
    v1::PinSet parsed;
    if (!parsed.ParseFromString(set.payload())) return std::nullopt;
    if (parsed.trust_domain() != incoming.trust_domain()) return std::nullopt;
    newest = parsed.version();
  }
  return newest;
}

// Why the sets that are offered are not followed, but the one in force stays; empty: they are.
std::string WhyBehind(const TrustHeld& held, const v1::TrustState& incoming) {
  const std::optional<uint64_t> newest = NewestOffered(incoming);
  const bool of_first_contact = held.pin_set == nullptr && incoming.pin_sets().empty();
  if (!newest.has_value() || *newest >= held.cursor.version || of_first_contact) return "";
  return absl::StrCat(*newest == kNone
                          ? absl::StrCat("no pin set of ", incoming.trust_domain(), " is offered, ")
                          : absl::StrCat("rollback: pin set version ", *newest, " of ",
                                         incoming.trust_domain(), " is offered as the newest, "),
                      "version ", held.cursor.version,
                      " is in force and stays: the sets are withheld, or came here by another way, "
                      "or the CA's store was put back from a copy. Publish them there: linchpin "
                      "pins publish FILE");
}

// Of one version there is one set: two that the same signers signed would split the fleet, with
// every node sure that it has the newest.
absl::Status CheckOneOfVersion(const TrustHeld& held, const v1::TrustState& incoming) {
  if (held.pin_set == nullptr) return absl::OkStatus();
  const auto of_version = [&](const v1::SignedPinSet& set) {
    v1::PinSet parsed;
    return parsed.ParseFromString(set.payload()) && parsed.version() == held.cursor.version;
  };
  const auto& sets = held.message.pin_sets();
  const auto in_force = std::find_if(sets.begin(), sets.end(), of_version);
  for (const v1::SignedPinSet& set : incoming.pin_sets()) {
    if (in_force == sets.end() || !of_version(set) || set.payload() == in_force->payload()) {
      continue;
    }
    return absl::FailedPreconditionError(
        absl::StrCat("pin set version ", held.cursor.version, " of ", incoming.trust_domain(),
                     " is offered with other contents than those in force: two sets of one version "
                     "were made; publish the next one, and find out who signed both"));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::EffectivePins> PinsOfSetZero(const TrustHeld& held,
                                                const v1::TrustState& incoming) {
  if (!held.set_zero || !held.cursor.signers.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "no signed pin set of ", incoming.trust_domain(),
        " is offered, and its signers are known: the sets are withheld, or none was published"));
  }
  std::vector<x509::SpkiPin> issuers;
  for (const std::string& bytes : incoming.declared_issuers()) {
    absl::StatusOr<x509::SpkiPin> pin = x509::SpkiPin::FromBytes(bytes);
    if (!pin.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("declared issuer ", issuers.size(), " of ",
                                                     incoming.trust_domain(), ": ",
                                                     pin.status().message()));
    }
    issuers.push_back(*pin);
  }
  return SetZero(held.frozen_anchors, issuers);
}

// Also what the CA drops later, so that nobody who stole it brings it back.
void AddDeclared(const v1::EffectivePins& pins, std::vector<x509::SpkiPin>* declared) {
  for (const std::string& bytes : pins.issuers()) {
    const absl::StatusOr<x509::SpkiPin> pin = x509::SpkiPin::FromBytes(bytes);
    if (!pin.ok() || declared->size() >= kMaxDeclared) continue;
    if (std::find(declared->begin(), declared->end(), *pin) == declared->end()) {
      declared->push_back(*pin);
    }
  }
}

// Goes on with what a store of this life offers.
void Enter(const std::string& incarnation, TrustHeld* held) {
  if (held->incarnation == incarnation) return;
  auto& left = held->left;
  std::erase_if(left, [&](const std::string& one) { return one == held->incarnation; });
  if (!held->incarnation.empty()) left.push_back(held->incarnation.substr(0, kMaxLife));
  if (left.size() > kMaxLeft) left.erase(left.begin());
  held->incarnation = incarnation;
}

void Add(absl::string_view sentence, std::string* text) {
  absl::StrAppend(text, text->empty() ? "" : "; ", sentence);
}

// The set that `cursor` has in force where nothing newer came: it was verified when it was taken.
absl::StatusOr<PinSet> HeldPinSet(const TrustHeld& held) {
  for (const v1::SignedPinSet& set : held.message.pin_sets()) {
    ASSIGN_OR_RETURN(PinSet parsed, ParsePinSet(set.payload()));
    if (parsed.message.version() == held.cursor.version) return parsed;
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "pin set version ", held.cursor.version, " of ", held.cursor.trust_domain.name(),
      " is in force but is not held here: the state was damaged; begin again with --signers"));
}

// Only the set in force is kept; the way that led to it is in the cursor.
void KeepOnly(uint64_t version, const v1::TrustState& incoming, const TrustHeld& held,
              v1::TrustState* message) {
  message->clear_pin_sets();
  for (const v1::TrustState* source : {&held.message, &incoming}) {
    for (const v1::SignedPinSet& set : source->pin_sets()) {
      v1::PinSet parsed;
      if (parsed.ParseFromString(set.payload()) && parsed.version() == version) {
        *message->add_pin_sets() = set;
        return;
      }
    }
  }
}

// The newer of what is held and what is offered, if it is of the key that `set` names.
void TakeFreshness(const v1::PinSet& set, const v1::TrustState& incoming, const TrustHeld& held,
                   TrustHeld* next) {
  next->freshness.reset();
  next->message.clear_freshness();
  for (const v1::TrustState* source : {&held.message, &incoming}) {
    if (!source->has_freshness()) continue;
    absl::StatusOr<v1::Freshness> statement = VerifyFreshness(set, source->freshness());
    if (!statement.ok()) {
      // One that was held is of the key of a set before.
      if (source == &incoming) next->faults.emplace_back(statement.status().message());
      continue;
    }
    if (next->freshness.has_value() && next->freshness->issued_at() >= statement->issued_at()) {
      continue;
    }
    next->freshness = *std::move(statement);
    *next->message.mutable_freshness() = source->freshness();
  }
}

// Most of what comes is what came before, and to decode a certificate costs more than to verify a
// signature.
absl::StatusOr<x509::Chain> Decode(const google::protobuf::RepeatedPtrField<std::string>& ders,
                                   const x509::Chain& before) {
  x509::Chain chain;
  for (const std::string& der : ders) {
    const auto known = std::find_if(before.begin(), before.end(), [&der](const auto& certificate) {
      return certificate.der() == der;
    });
    if (known != before.end()) {
      chain.push_back(*known);
      continue;
    }
    absl::StatusOr<x509::Certificate> decoded = x509::Certificate::FromDer(der);
    if (!decoded.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("the offered trust state, certificate ",
                                                     chain.size() + 1, ": ",
                                                     decoded.status().message()));
    }
    chain.push_back(*std::move(decoded));
  }
  return chain;
}

absl::StatusOr<std::shared_ptr<const TrustState>> Build(const v1::TrustState& message,
                                                        const TrustHeld& held,
                                                        const TrustDomain& trust_domain,
                                                        v1::EffectivePins pins,
                                                        absl::Duration skew) {
  TrustStateParts parts{.trust_domain = trust_domain, .epoch = message.epoch()};
  const bool first = held.state == nullptr;
  ASSIGN_OR_RETURN(parts.anchors,
                   Decode(message.anchors(), first ? x509::Chain() : held.state->anchors()));
  ASSIGN_OR_RETURN(parts.issuers,
                   Decode(message.issuers(), first ? x509::Chain() : held.state->issuers()));
  ASSIGN_OR_RETURN(parts.revocations, Revocations::FromMessages({message.revocations().begin(),
                                                                 message.revocations().end()}));
  parts.pins = std::move(pins);
  parts.skew = skew;
  return TrustState::Make(std::move(parts));
}

}  // namespace

bool WasLeft(const TrustHeld& held, absl::string_view incarnation) {
  return incarnation != held.incarnation &&
         std::find(held.left.begin(), held.left.end(), incarnation) != held.left.end();
}

std::string OfferDigest(const v1::TrustState& offered) {
  v1::TrustState one = offered;
  auto& sets = *one.mutable_pin_sets();
  if (sets.size() > 1) sets.DeleteSubrange(0, sets.size() - 1);
  return x509::FieldHasher("linchpin trust offer v1").Add(one.SerializeAsString()).Finish();
}

absl::StatusOr<TrustHeld> AcceptTrust(const TrustHeld& held, const v1::TrustState& incoming,
                                      const AcceptOptions& options) {
  RETURN_IF_ERROR(CheckOrigin(held, incoming, options));
  RETURN_IF_ERROR(CheckOneOfVersion(held, incoming));
  const std::string behind = WhyBehind(held, incoming);
  std::vector<v1::SignedPinSet> sets;
  if (behind.empty()) sets.assign(incoming.pin_sets().begin(), incoming.pin_sets().end());
  ASSIGN_OR_RETURN(AcceptedPinSets accepted,
                   FollowPinSets(held.cursor, sets, options.now,
                                 options.first_contact && held.cursor.version == 0));

  TrustHeld next = held;
  next.cursor = std::move(accepted.cursor);
  next.message = incoming;
  next.faults.clear();
  next.refused = behind;
  if (!options.incarnation.empty()) {
    next.offered = OfferDigest(incoming);
    Enter(options.incarnation, &next);
  }
  KeepOnly(next.cursor.version, incoming, held, &next.message);
  v1::EffectivePins pins;
  if (next.cursor.version == 0) {
    ASSIGN_OR_RETURN(pins, PinsOfSetZero(held, incoming));
    AddDeclared(pins, &next.declared);
  } else {
    std::optional<PinSet> in_force = std::move(accepted.in_force);
    if (!in_force.has_value()) {
      ASSIGN_OR_RETURN(in_force, HeldPinSet(held));
    }
    if (next.cursor.version != held.cursor.version) {
      next.relaxed = Relaxed();
      next.expired = false;
    }
    const absl::Time latest = std::max(options.now, options.latest);
    if (incoming.has_relax() && !options.sealed) {
      const absl::Status status = Honour(next.cursor, incoming.relax(), latest, &next.relaxed);
      if (!status.ok()) Add(status.message(), &next.refused);
    }
    pins = Effective(*in_force);
    // Of the same set PinsAt said so, and says when it is over.
    const bool same_set = next.cursor.version == held.cursor.version && held.state != nullptr;
    pins.set_expired(next.expired || (same_set && held.state->pins().expired()));
    const bool began_before = next.relaxed == held.relaxed;
    if ((began_before ? std::max(latest, options.since_relax) : latest) < next.relaxed.ends_at) {
      pins.set_relaxed_until(absl::ToUnixSeconds(next.relaxed.ends_at));
    }
    TakeFreshness(in_force->message, incoming, held, &next);
    next.pin_set = std::make_shared<const PinSet>(*std::move(in_force));
    next.set_zero = false;
    next.declared.clear();
  }
  ASSIGN_OR_RETURN(next.state,
                   Build(incoming, held, next.cursor.trust_domain, std::move(pins), options.skew));
  next.twins = CheckTwins(*next.state, incoming.twins(), options.now, held.twins);
  next.canaries = JudgeCanaries(next.state, incoming.canaries(), options.now);
  return next;
}

}  // namespace linchpin::trust
