// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/backoff.h"

#include "gtest/gtest.h"

namespace linchpin::base {
namespace {

TEST(Backoff, DoublesFromTheFirstDelay) {
  const absl::Duration first = absl::Milliseconds(200);
  EXPECT_EQ(Backoff(0, 0, first, absl::Seconds(5)), absl::Milliseconds(100));
  EXPECT_EQ(Backoff(1, 0, first, absl::Seconds(5)), absl::Milliseconds(200));
  EXPECT_EQ(Backoff(2, 0.5, first, absl::Seconds(5)), absl::Milliseconds(600));
}

TEST(Backoff, NeverExceedsTheMostHoweverManyAttempts) {
  for (const int attempt : {0, 5, 10, 1000, 2'000'000'000}) {
    EXPECT_LE(Backoff(attempt, 0.999, absl::Seconds(1), absl::Seconds(5)), absl::Seconds(5));
    EXPECT_GE(Backoff(attempt, 0, absl::Seconds(1), absl::Seconds(5)), absl::Milliseconds(500));
  }
  EXPECT_LE(Backoff(0, 0.9, absl::Seconds(9), absl::Seconds(5)), absl::Seconds(5));
}

}  // namespace
}  // namespace linchpin::base
