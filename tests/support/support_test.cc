// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <unistd.h>

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/seeded_random.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::test {
namespace {

using ::testing::_;
using ::testing::HasSubstr;
using ::testing::Not;

absl::StatusOr<int> Five() { return 5; }
absl::StatusOr<int> Missing() { return absl::NotFoundError("no node edge-1"); }

TEST(StatusMatchers, MatchCodeAndMessage) {
  EXPECT_THAT(absl::OkStatus(), IsOk());
  EXPECT_THAT(Five(), IsOk());
  EXPECT_THAT(Missing(), Not(IsOk()));
  EXPECT_THAT(Missing(), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Missing(), StatusIs(absl::StatusCode::kNotFound, "edge-1"));
  EXPECT_THAT(Missing(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("edge-1")));
  EXPECT_THAT(Missing(), StatusIs(absl::StatusCode::kNotFound, _));
  EXPECT_THAT(Missing(), Not(StatusIs(absl::StatusCode::kNotFound, "edge-2")));
  EXPECT_THAT(Missing().status(), Not(StatusIs(absl::StatusCode::kInternal)));
}

TEST(StatusMatchers, LookIntoTheValue) {
  EXPECT_THAT(Five(), IsOkAndHolds(5));
  EXPECT_THAT(Five(), Not(IsOkAndHolds(6)));
  EXPECT_THAT(Missing(), Not(IsOkAndHolds(5)));
  ASSERT_OK_AND_ASSIGN(const int five, Five());
  EXPECT_EQ(five, 5);
}

TEST(FakeClock, MovesOnlyWhenMoved) {
  FakeClock clock;
  const absl::Time start = clock.Now();
  const absl::Duration uptime = clock.Uptime();
  clock.Advance(absl::Seconds(3));
  EXPECT_EQ(clock.Now(), start + absl::Seconds(3));
  EXPECT_EQ(clock.Uptime(), uptime + absl::Seconds(3));
  clock.Jump(start - absl::Hours(1));
  EXPECT_EQ(clock.Now(), start - absl::Hours(1));
  EXPECT_EQ(clock.Uptime(), uptime + absl::Seconds(3));
}

TEST(SeededRandom, RepeatsFromItsSeed) {
  SeededRandom first(7), again(7), other(8);
  const std::string bytes = base::RandomBytes(first, 21);
  EXPECT_EQ(bytes, base::RandomBytes(again, 21));
  EXPECT_NE(bytes, base::RandomBytes(other, 21));
  // Pinned, so that a seed in an old report still replays.
  EXPECT_EQ(SeededRandom(1).Next(), 0x910a2dec89025cc1u);
}

TEST(TempDir, IsRemovedWithWhatIsInIt) {
  std::string path;
  {
    TempDir dir;
    path = dir.path();
    std::ofstream(dir.Join("file")) << "x";
    EXPECT_EQ(access(dir.Join("file").c_str(), F_OK), 0);
  }
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace linchpin::test
