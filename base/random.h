// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Randomness as an argument: serial numbers, jitter, tokens, ids. Keys come from OpenSSL instead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace linchpin::base {

class Random {
 public:
  virtual ~Random() = default;
  virtual void Fill(void* out, size_t size) = 0;
};

// getrandom(2); safe for concurrent use; lives for ever.
Random& SystemRandom();

std::string RandomBytes(Random& random, size_t size);
uint64_t RandomUint64(Random& random);
// Uniform in [0, 1).
double RandomFraction(Random& random);

}  // namespace linchpin::base
