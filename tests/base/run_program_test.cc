// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/run_program.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::base {
namespace {

using test::StatusIs;
using ::testing::ElementsAre;

TEST(SplitCommand, KeepsQuotedSpacesAndKnowsNothingElse) {
  EXPECT_THAT(*SplitCommand("  nginx -s   reload\n"), ElementsAre("nginx", "-s", "reload"));
  EXPECT_THAT(*SplitCommand("sh -c 'kill -HUP $(cat \"a b\")' ''"),
              ElementsAre("sh", "-c", "kill -HUP $(cat \"a b\")", ""));
  EXPECT_THAT(*SplitCommand("a\"b c\"d $HOME;x"), ElementsAre("ab cd", "$HOME;x"));
}

TEST(SplitCommand, RefusesWhatIsNoCommand) {
  for (const char* text : {"", "  ", "'a", "a \"b", "''"}) {
    EXPECT_THAT(SplitCommand(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(RunProgram, SaysHowItEnded) {
  EXPECT_OK(RunProgram({"true"}, absl::Seconds(60)));
  EXPECT_THAT(RunProgram({"sh", "-c", "exit 3"}, absl::Seconds(60)),
              StatusIs(absl::StatusCode::kAborted, "sh exited with 3"));
  EXPECT_THAT(RunProgram({"sh", "-c", "kill -9 $$"}, absl::Seconds(60)),
              StatusIs(absl::StatusCode::kAborted, "signal 9"));
  EXPECT_THAT(RunProgram({"/no/such/program"}, absl::Seconds(60)),
              StatusIs(absl::StatusCode::kNotFound, "/no/such/program"));
  EXPECT_THAT(RunProgram({"/etc/passwd"}, absl::Seconds(60)),
              StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST(RunProgram, UsesNoShell) {
  test::TempDir directory;
  EXPECT_OK(RunProgram({"true", ";", "touch", directory.Join("x")}, absl::Seconds(60)));
  EXPECT_FALSE(std::filesystem::exists(directory.Join("x")));
}

TEST(RunProgram, KillsWhatTakesTooLongWithItsChildren) {
  EXPECT_THAT(RunProgram({"sh", "-c", "sleep 1000 & wait"}, absl::Milliseconds(50)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, "did not end within 50ms"));
}

}  // namespace
}  // namespace linchpin::base
