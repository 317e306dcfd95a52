// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What somebody should look at in the pins that are in force. Said by agents, CA and the command in
// the same words; never a reason to refuse anything. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "linchpin/trust/v1/trust.pb.h"

namespace linchpin::trust {

inline constexpr absl::Duration kOldProof = absl::Hours(180 * 24);

struct PinConcern {
  // A word for metrics: expiring, expired, backup_unproved, withheld, relaxed, relax_missed.
  std::string kind;
  // Distinguishes concerns of a kind that each deserve to be said: days left (30, 14, 7, 1), times.
  std::string step;
  std::string text;  // a sentence: what is so, and what to do
  bool operator==(const PinConcern&) const = default;
};

struct PinFacts {
  const v1::PinSet& set;                                  // in force, signed
  std::optional<v1::Freshness> freshness = std::nullopt;  // the newest that verified
  absl::Time relaxed_until = absl::InfinitePast();
};

// As things are at `now`; expiry first. At most five.
std::vector<PinConcern> PinConcerns(const PinFacts& facts, absl::Time now);

// When the next concern of these facts begins or one becomes more pressing; the infinite future if
// nothing is ahead.
absl::Time NextPinConcern(const PinFacts& facts, absl::Time now);

}  // namespace linchpin::trust
