// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/pin_witness.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace linchpin::sim {
namespace {

// Sealing what changed may take several attempts on a disk that is full now and then.
constexpr absl::Duration kToSeal = absl::Seconds(60);
// An agent seals times in milliseconds, and may be restarted often.
constexpr absl::Duration kRounding = absl::Milliseconds(50);
constexpr absl::Duration kSkew = absl::Seconds(60);

template <typename Pins>
bool Holds(const Pins& pins, const std::string& pin) {
  return std::find(pins.begin(), pins.end(), pin) != pins.end();
}

}  // namespace

void PinWitness::Started(bool rebooted) {
  last_ahead_ = -absl::InfiniteDuration();
  expired_ = {0, absl::InfiniteFuture()};
  unsaid_ = absl::InfiniteFuture();
  looked_at_ = nullptr;
  // A machine that was started again knows less of the time that has passed, which a relax may be
  // lengthened by (docs/decisions/0025).
  if (!rebooted) return;
  for (auto& [which, run] : runs_) run.seen = world_.now();
}

void PinWitness::Heard(int64_t ca_time) {
  last_ahead_ = absl::FromUnixSeconds(ca_time) - world_.now();
  most_ahead_ = std::max(most_ahead_, last_ahead_);
}

void PinWitness::Looked(absl::Time clock, const std::shared_ptr<const trust::TrustHeld>& trust,
                        const std::vector<trust::PinConcern>& concerns) {
  clock_ = std::max(clock_, clock);
  agreed_ = std::max(agreed_, std::min(clock, world_.now() + most_ahead_));
  if (trust == nullptr || trust->state == nullptr) return;
  if (trust != looked_at_) CheckKeys(*trust);
  looked_at_ = trust;
  const trust::v1::EffectivePins& pins = trust->state->pins();
  if (!pins.is_signed()) return;
  const absl::Time expiry = absl::FromUnixSeconds(pins.expires_at());
  if (std::min(clock, world_.now() + last_ahead_) < expiry) {
    expired_ = {0, absl::InfiniteFuture()};
  } else if (expired_.first != pins.version()) {
    expired_ = {pins.version(), world_.now()};
  }
  if (pins.expired() && !MayHaveExpired(pins.expires_at())) {
    world_.Broken("pins expire once both clocks say so", node_);
  }
  if (pins.relaxed_until() > 0) CheckRelaxed(pins);
  CheckFreshness(*trust, concerns);
}

void PinWitness::CheckKeys(const trust::TrustHeld& trust) const {
  const trust::v1::EffectivePins& pins = trust.state->pins();
  bool vouched = pins.is_signed() && signers_.Vouch(pins);
  if (!pins.is_signed()) {
    // Set 0: what the CA declares, under the roots of the first contact.
    vouched = std::all_of(pins.anchors().begin(), pins.anchors().end(),
                          [&](const auto& pin) { return ca_.history().WasRoot(pin); });
  }
  for (const x509::Certificate& anchor : trust.state->anchors()) {
    vouched = vouched && Holds(pins.anchors(), anchor.public_key().pin().bytes());
  }
  if (!vouched) {
    world_.Broken("no key is trusted that no set vouches for",
                  absl::StrCat(node_, ": ", pins.ShortDebugString()));
  }
}

bool PinWitness::MayHaveExpired(int64_t expires_at) const {
  return agreed_ + kRounding >= absl::FromUnixSeconds(expires_at);
}

bool PinWitness::KnowsOfExpiry(uint64_t version, absl::Duration since) const {
  return expired_.first == version && world_.now() - expired_.second >= since;
}

void PinWitness::CheckRelaxed(const trust::v1::EffectivePins& pins) {
  const auto& documents = signers_.RelaxesOf(pins.version());
  const int64_t until = pins.relaxed_until();
  const auto which = std::pair(pins.version(), until);
  if (!runs_.contains(which)) {
    int64_t most = 0;
    for (const trust::v1::Relax& document : documents) {
      if (until <= document.latest()) most = std::max<int64_t>(most, document.max_seconds());
    }
    if (most == 0) return world_.Broken("nothing is relaxed without a document", node_);
    runs_[which] = {world_.now(), absl::Seconds(most)};
    const auto of_version = std::count_if(runs_.begin(), runs_.end(), [&](const auto& run) {
      return run.first.first == pins.version();
    });
    if (static_cast<size_t>(of_version) > documents.size() + lost_) {
      return world_.Broken("a relax document is honoured once", node_);
    }
  }
  if (!MayBeRelaxed(pins.version(), until, absl::ZeroDuration())) {
    world_.Broken("a relax ends", absl::StrCat(node_, ", version ", pins.version()));
  }
}

bool PinWitness::MayBeRelaxed(uint64_t version, int64_t until, absl::Duration grace) const {
  const auto run = runs_.find({version, until});
  return run != runs_.end() &&
         world_.now() <= run->second.seen + run->second.most + kToSeal + grace;
}

void PinWitness::CheckFreshness(const trust::TrustHeld& trust,
                                const std::vector<trust::PinConcern>& concerns) {
  const bool said = std::any_of(concerns.begin(), concerns.end(),
                                [](const auto& concern) { return concern.kind == "withheld"; });
  const uint64_t version = trust.cursor.version;
  // Alarms are of what is held already, although it may have to be sealed before it is served.
  const bool due = trust.freshness.has_value() && trust.freshness->version() > version && !said;
  unsaid_ = due ? std::min(unsaid_, world_.now()) : absl::InfiniteFuture();
  if (world_.now() - unsaid_ > kToSeal) {
    return world_.Broken("what is withheld is an alarm", node_);
  }
  if (!said) return;
  const auto& all = signers_.statements();
  const bool rightly = std::any_of(all.begin(), all.end(), [&](const auto& statement) {
    return statement.version() > version ||
           absl::FromUnixSeconds(statement.expires_at()) <= std::max(clock_, agreed_) + kSkew;
  });
  if (!rightly) world_.Broken("withheld sets are said only where there are any", node_);
}

}  // namespace linchpin::sim
