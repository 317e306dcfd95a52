// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/allowance.h"

#include "gtest/gtest.h"

namespace linchpin::ca {
namespace {

constexpr absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr absl::Duration kEach = absl::Seconds(2);

TEST(Allowance, IsForSeveralAtOnceAndThenComesBackOneByOne) {
  Allowance allowance(3, kEach);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(allowance.Take("a", kNow), absl::ZeroDuration());
  EXPECT_EQ(allowance.Take("a", kNow), kEach);
  EXPECT_EQ(allowance.Take("a", kNow + absl::Seconds(1)), absl::Seconds(1)) << "nothing was taken";
  EXPECT_EQ(allowance.Take("a", kNow + kEach), absl::ZeroDuration());
  EXPECT_EQ(allowance.Take("a", kNow + kEach), kEach);
}

TEST(Allowance, IsEachOnesOwn) {
  Allowance allowance(1, kEach);
  EXPECT_EQ(allowance.Take("a", kNow), absl::ZeroDuration());
  EXPECT_EQ(allowance.Take("b", kNow), absl::ZeroDuration());
  EXPECT_GT(allowance.Take("a", kNow), absl::ZeroDuration());
}

TEST(Allowance, OfNobodyGrowsBeyondAll) {
  Allowance allowance(2, kEach);
  EXPECT_EQ(allowance.Take("a", kNow), absl::ZeroDuration());
  const absl::Time later = kNow + absl::Hours(1);
  EXPECT_EQ(allowance.Take("a", later), absl::ZeroDuration());
  EXPECT_EQ(allowance.Take("a", later), absl::ZeroDuration());
  EXPECT_EQ(allowance.Take("a", later), kEach);
}

TEST(Allowance, IsNotLostToAClockThatIsPutBack) {
  Allowance allowance(2, kEach);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(allowance.Take("a", kNow), absl::ZeroDuration());
  const absl::Time before = kNow - absl::Hours(24);
  EXPECT_EQ(allowance.Take("a", before), kEach);
  EXPECT_EQ(allowance.Take("a", before + kEach), absl::ZeroDuration());
}

TEST(Allowance, RemembersOnlyThoseWhoHaveSpentSome) {
  Allowance allowance(2, kEach);
  allowance.Take("a", kNow);
  allowance.Take("b", kNow + kEach);
  allowance.Tidy(kNow + kEach);
  EXPECT_EQ(allowance.size(), 1u);
  allowance.Tidy(kNow + kEach + kEach);
  EXPECT_EQ(allowance.size(), 0u);
}

}  // namespace
}  // namespace linchpin::ca
