// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/sim/simulation.h"

namespace linchpin::sim {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// Each block of seeds is a test of its own, so that a failure is seen early and cores share them.
constexpr uint64_t kSeeds = 200;
constexpr uint64_t kBlock = 5;
class Seeds : public ::testing::TestWithParam<uint64_t> {};

TEST_P(Seeds, KeepEveryPromise) {
  for (uint64_t seed = GetParam(); seed < GetParam() + kBlock; ++seed) {
    const Outcome outcome = Simulate({seed});
    ASSERT_TRUE(outcome.clean) << outcome.report << "\nreplay: ./dev sim --seeds 1 --first "
                               << seed;
    EXPECT_GT(outcome.passed + outcome.refused, 0u);
  }
}
INSTANTIATE_TEST_SUITE_P(Simulation, Seeds, ::testing::Range(uint64_t{1}, kSeeds + 1, kBlock));

TEST(Simulation, KeepsEveryPromiseToAHundredNodes) {
  const Outcome outcome = Simulate({.seed = 1, .nodes = 100});
  EXPECT_TRUE(outcome.clean) << outcome.report
                             << "\nreplay: ./dev sim --seeds 1 --first 1 --nodes 100";
}

TEST(Simulation, TellsTheSameStoryForTheSameSeed) {
  const Outcome one = Simulate({7});
  const Outcome two = Simulate({7});
  EXPECT_EQ(one.steps, two.steps);
  EXPECT_EQ(one.passed, two.passed);
  EXPECT_EQ(one.refused, two.refused);
}

struct BrokenRule {
  const char* name;
  // The promises it may break first, as a regular expression: which of them is seen to be broken
  // depends on the story that the seed tells.
  const char* noticed_as;
};

class Broken : public ::testing::TestWithParam<BrokenRule> {};

TEST_P(Broken, IsNoticedWithinAFewSeeds) {
  const std::string command = absl::StrCat(LINCHPIN_BIN_DIR, "/linchpin-sim-", GetParam().name,
                                           " --seeds 30 --first 1 2>&1");
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  std::array<char, 4096> buffer;
  while (const size_t read = fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), read);
  }
  const int status = pclose(pipe);
  ASSERT_TRUE(WIFEXITED(status)) << output;
  EXPECT_EQ(WEXITSTATUS(status), 1) << output;
  EXPECT_THAT(output, ContainsRegex(absl::StrCat("BROKEN: (", GetParam().noticed_as, ")")));
  EXPECT_THAT(output, HasSubstr("./dev sim --seeds 1 --first "));
}

INSTANTIATE_TEST_SUITE_P(
    Rules, Broken,
    ::testing::Values(
        BrokenRule{"durable_before_reply", "what was answered is not lost|the CA can serve"},
        BrokenRule{"acknowledge_after_swap", "acknowledged after the swap"},
        BrokenRule{"keep_a_valid_certificate", "a valid certificate is never dropped"},
        BrokenRule{"gates_ask_services", "no gate opens early"},
        BrokenRule{"policy_asks_services", "policy is enforced where it is said to be"},
        BrokenRule{"activate_waits", "no gate opens early|an allowed pair is never refused"},
        BrokenRule{"silent_nodes_count", "no gate opens early"},
        BrokenRule{"drain_waits",
                   "what a dropped key signed is not in use|an allowed pair is never refused"},
        BrokenRule{"the_revoked_are_refused", "what is revoked is never let through"},
        BrokenRule{"closed_pins_admit_nobody", "pins that expired with fail_closed admit nobody"},
        BrokenRule{"expiry_needs_two_clocks", "pins expire once both clocks say so"},
        BrokenRule{"relax_ends", "a relax ends"},
        BrokenRule{"relax_of_its_version", "nothing is relaxed without a document"},
        BrokenRule{"roots_need_a_set",
                   "no key is trusted that no set vouches for|a root that no set names anchors"},
        BrokenRule{"sets_need_all_signatures", "no key is trusted that no set vouches for"},
        BrokenRule{"seal_before_acknowledging", "what is acknowledged is sealed"}),
    [](const auto& rule) { return std::string(rule.param.name); });

}  // namespace
}  // namespace linchpin::sim
