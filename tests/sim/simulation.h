// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One run: forty minutes in the life of a small fleet, told by a seed.
#pragma once

#include <cstdint>
#include <string>

namespace linchpin::sim {

struct Outcome {
  bool clean = false;
  std::string report;  // the end of the story, and the rule that was broken
  size_t steps = 0;
  size_t passed = 0;  // handshakes
  size_t refused = 0;
  size_t softened = 0;   // forged ones that passed because the pins were rightly softened
  size_t lies = 0;       // of who took the CA's place
  size_t rotations = 0;  // that went through
  size_t disasters = 0;  // the CA's store was put back from a copy
};

struct Story {
  uint64_t seed = 1;
  size_t nodes = 0;  // 0: a few, as the seed says
};

Outcome Simulate(const Story& story);

}  // namespace linchpin::sim
