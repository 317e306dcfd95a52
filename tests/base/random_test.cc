// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/random.h"

#include <set>

#include "gtest/gtest.h"

namespace linchpin::base {
namespace {

class AllOnes final : public Random {
 public:
  void Fill(void* out, size_t size) override {
    for (size_t i = 0; i < size; ++i) static_cast<unsigned char*>(out)[i] = 0xff;
  }
};

TEST(Random, NeverReturnsTheSameBytes) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(seen.insert(RandomBytes(SystemRandom(), 16)).second);
  }
}

TEST(Random, FillsMoreThanTheKernelGivesAtOnce) {
  const std::string bytes = RandomBytes(SystemRandom(), 1 << 20);
  EXPECT_NE(bytes.substr(bytes.size() - 32), std::string(32, '\0'));
}

TEST(Random, FractionStaysBelowOne) {
  AllOnes most;
  EXPECT_LT(RandomFraction(most), 1.0);
  for (int i = 0; i < 100; ++i) EXPECT_GE(RandomFraction(SystemRandom()), 0.0);
}

}  // namespace
}  // namespace linchpin::base
