// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/log.h"

#include <algorithm>

#include "base/log_limit.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace linchpin::base {
namespace {

using ::linchpin::test::StatusIs;
using ::testing::HasSubstr;
using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;

TEST(Log, WritesOneLineOfKeysAndValues) {
  ASSERT_OK(InitLog("linchpin-test", "info"));
  CaptureStderr();
  LogInfo("node joined", {{"node", "n1"}, {"why", "a token"}, {"empty", ""}});
  const std::string text = GetCapturedStderr();
  EXPECT_THAT(text, ::testing::EndsWith(
                        "info linchpin-test: node joined node=n1 why=\"a token\" empty=\"\"\n"));
  EXPECT_THAT(text, ::testing::MatchesRegex("....-..-..T..:..:..[.]...Z .*\n"));
}

TEST(Log, AnAttackersTextCannotForgeALineOrAKey) {
  ASSERT_OK(InitLog("p", "info"));
  CaptureStderr();
  LogWarning("m", {{"peer", "x\n2026 error p: forged\x1b[0m \" admin=true \\"}});
  const std::string text = GetCapturedStderr();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_THAT(text,
              HasSubstr("peer=\"x\\x0a2026 error p: forged\\x1b[0m \\\" admin=true \\\\\"\n"));
}

TEST(Log, CutsValuesThatAreTooLong) {
  ASSERT_OK(InitLog("p", "info"));
  CaptureStderr();
  LogError("m", {{"v", std::string(100'000, 'x')}});
  EXPECT_LT(GetCapturedStderr().size(), 5000u);
}

TEST(Log, FormatsNothingFromItsMessage) {
  ASSERT_OK(InitLog("p", "info"));
  CaptureStderr();
  LogInfo("{} {0} %s %n");
  EXPECT_THAT(GetCapturedStderr(), HasSubstr("p: {} {0} %s %n\n"));
}

TEST(Log, KeepsQuietBelowItsLevel) {
  ASSERT_OK(InitLog("p", "warning"));
  CaptureStderr();
  LogInfo("unheard");
  LogWarning("heard");
  EXPECT_THAT(GetCapturedStderr(), ::testing::AllOf(HasSubstr("warning p: heard"),
                                                    ::testing::Not(HasSubstr("unheard"))));
}

TEST(LogLimit, CountsWhatItDoesNotSay) {
  LogLimit limit(2);
  EXPECT_EQ(limit.Take(absl::Seconds(5)), 0u);
  EXPECT_EQ(limit.Take(absl::Seconds(5)), 0u);
  EXPECT_EQ(limit.Take(absl::Seconds(5.5)), std::nullopt);
  EXPECT_EQ(limit.Take(absl::Seconds(5.9)), std::nullopt);
  EXPECT_EQ(limit.Take(absl::Seconds(6)), 2u);
  EXPECT_EQ(limit.Take(absl::Seconds(6)), 0u);
}

TEST(Log, RefusesAnUnknownLevel) {
  EXPECT_THAT(InitLog("p", "loud"),
              StatusIs(absl::StatusCode::kInvalidArgument, "debug, info, warning or error"));
}

}  // namespace
}  // namespace linchpin::base
