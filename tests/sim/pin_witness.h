// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Watches the pins of one node from outside: what it holds was signed, expires once both clocks say
// so, and is relaxed by a document and for no longer than that says.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "tests/sim/pin_signers.h"
#include "tests/sim/world.h"
#include "trust/pin_concerns.h"
#include "trust/trust_acceptance.h"

namespace linchpin::sim {

class PinWitness {
 public:
  PinWitness(World& world, const SimCa& ca, const PinSigners& signers, std::string node)
      : world_(world), ca_(ca), signers_(signers), node_(std::move(node)) {}

  void Started(bool rebooted);
  // What it served could not be sealed and is lost with its process.
  void Lost() { ++lost_; }
  // A CA said the time.
  void Heard(int64_t ca_time);
  // After each step of its agent, by its own clock.
  void Looked(absl::Time clock, const std::shared_ptr<const trust::TrustHeld>& trust,
              const std::vector<trust::PinConcern>& concerns);

  // Both clocks have, or may have, come to this.
  bool MayHaveExpired(int64_t expires_at) const;
  // Both clocks came to the expiry of this set for so long, in this life of the agent.
  bool KnowsOfExpiry(uint64_t version, absl::Duration since) const;
  // By a document of this set that began here; `grace` is for the way to a service.
  bool MayBeRelaxed(uint64_t version, int64_t until, absl::Duration grace) const;

 private:
  struct Run {
    absl::Time seen;  // first, by the world's clock
    absl::Duration most;
  };
  void CheckKeys(const trust::TrustHeld& trust) const;
  void CheckRelaxed(const trust::v1::EffectivePins& pins);
  void CheckFreshness(const trust::TrustHeld& trust,
                      const std::vector<trust::PinConcern>& concerns);

  World& world_;
  const SimCa& ca_;
  const PinSigners& signers_;
  const std::string node_;
  std::shared_ptr<const trust::TrustHeld> looked_at_;
  absl::Duration most_ahead_ = -absl::InfiniteDuration();  // that a CA ever said, of the world
  absl::Duration last_ahead_ = -absl::InfiniteDuration();  // as it said last, in this life
  absl::Time agreed_ = absl::InfinitePast();               // at most, by both clocks
  absl::Time clock_ = absl::InfinitePast();                // its own, at its latest
  std::pair<uint64_t, absl::Time> expired_{0, absl::InfiniteFuture()};  // version, since when
  std::map<std::pair<uint64_t, int64_t>, Run> runs_;                    // of version and end
  size_t lost_ = 0;
  absl::Time unsaid_ = absl::InfiniteFuture();  // since then an alarm is due that is not given
};

}  // namespace linchpin::sim
