// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Randomness that a seed reproduces (splitmix64), the same on every machine and compiler.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/random.h"

namespace linchpin::test {

// One thread only.
class SeededRandom final : public base::Random {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}

  void Fill(void* out, size_t size) override {
    auto* bytes = static_cast<unsigned char*>(out);
    while (size > 0) {
      const uint64_t word = Next();
      const size_t count = size < sizeof(word) ? size : sizeof(word);
      std::memcpy(bytes, &word, count);
      bytes += count;
      size -= count;
    }
  }

  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // Uniform in [0, limit); limit > 0.
  uint64_t Below(uint64_t limit) { return Next() % limit; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

}  // namespace linchpin::test
