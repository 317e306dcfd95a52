// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The simulated world: one thread, one seed, one queue of things to come. Nothing in it asks the
// machine for time or chance, so a seed tells the same story every time.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "tests/support/seeded_random.h"

namespace linchpin::sim {

class World {
 public:
  explicit World(uint64_t seed) : random_(seed) {}

  absl::Time now() const { return now_; }
  test::SeededRandom& random() { return random_; }
  bool OneIn(uint64_t n) { return random_.OneIn(n); }
  // Uniform in [0, most).
  absl::Duration UpTo(absl::Duration most) {
    return absl::Microseconds(random_.Below(absl::ToInt64Microseconds(most) + 1));
  }

  void After(absl::Duration delay, std::function<void()> work) {
    queue_.emplace(now_ + delay, std::move(work));
  }
  // Runs what is due until `end`, or until a rule is broken.
  void RunUntil(absl::Time end);
  size_t steps() const { return steps_; }

  // The story, of which the end is kept for the report of a failure.
  void Say(std::string line);
  // A rule is broken. The first one counts.
  void Broken(const std::string& rule, const std::string& how);
  bool broken() const { return !broken_.empty(); }
  const std::string& report() const { return broken_; }

 private:
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  test::SeededRandom random_;
  std::multimap<absl::Time, std::function<void()>> queue_;
  std::deque<std::string> story_;
  std::string broken_;
  size_t steps_ = 0;
};

}  // namespace linchpin::sim
