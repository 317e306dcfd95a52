// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/verdict_memo.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace linchpin::rpc {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'900'000'000);

TEST(VerdictMemo, HoldsFromTheJudgementToTheEnd) {
  VerdictMemo memo;
  memo.Allow("a", kNow, kNow + absl::Hours(1));
  EXPECT_FALSE(memo.IsAllowed("b", kNow));
  EXPECT_TRUE(memo.IsAllowed("a", kNow));
  EXPECT_FALSE(memo.IsAllowed("a", kNow + absl::Hours(1)));
  EXPECT_EQ(memo.size(), 0u);
}

TEST(VerdictMemo, AClockThatWentBackIsAskedAgain) {
  VerdictMemo memo;
  memo.Allow("a", kNow, kNow + absl::Hours(1));
  EXPECT_FALSE(memo.IsAllowed("a", kNow - absl::Seconds(1)));
}

TEST(VerdictMemo, ForgetsTheLeastRecentlyUsedFirst) {
  VerdictMemo memo(2);
  memo.Allow("a", kNow, absl::InfiniteFuture());
  memo.Allow("b", kNow, absl::InfiniteFuture());
  memo.Allow("a", kNow, absl::InfiniteFuture());
  EXPECT_TRUE(memo.IsAllowed("a", kNow));
  memo.Allow("c", kNow, absl::InfiniteFuture());
  EXPECT_EQ(memo.size(), 2u);
  EXPECT_TRUE(memo.IsAllowed("a", kNow));
  EXPECT_FALSE(memo.IsAllowed("b", kNow));
}

}  // namespace
}  // namespace linchpin::rpc
