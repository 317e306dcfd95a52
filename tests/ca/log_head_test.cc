// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/log_head.h"

#include "ca/core/change_log.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::AllOf;
using ::testing::HasSubstr;

ca::event::Tick TickAt(uint64_t entries) {
  return {.log_entries = entries, .log_head = std::string(32, static_cast<char>(entries))};
}

class LogHead : public ::testing::Test {
 protected:
  // What the store vouches for, as a start finds it.
  state::v1::LogHeadRecord Stored() {
    return ca::Registry::FromListing(*world.store.List(""))->log_head();
  }
  uint64_t revision() { return world.core->registry().revision(); }

  CoreWorld world;
};

TEST_F(LogHead, IsStoredByItselfOnlyWhenTheLogHasGrown) {
  world.Step(TickAt(3));
  EXPECT_EQ(Stored().entries(), 3u);
  EXPECT_EQ(Stored().hash(), TickAt(3).log_head);
  EXPECT_EQ(Stored().anchored_at(), absl::ToUnixSeconds(world.now));
  const uint64_t before = revision();
  for (int i = 0; i < 5; ++i) world.Step(TickAt(3));
  EXPECT_EQ(revision(), before) << "nothing is written while nothing is issued";
  world.Step(TickAt(4));
  EXPECT_EQ(Stored().entries(), 4u);
  EXPECT_EQ(revision(), before + 1);
}

TEST_F(LogHead, GoesWithWhateverElseIsStored) {
  world.hold_commits = true;
  world.Step(TickAt(3));
  world.Step(TickAt(5));  // while the first is under way
  const ca::CallId call = world.Ask(ca::v1::CreateJoinTokenRequest());
  const uint64_t before = revision();
  world.hold_commits = false;
  world.CompleteAll();
  EXPECT_OK(world.Answer<ca::v1::JoinToken>(call));
  EXPECT_EQ(Stored().entries(), 5u);
  EXPECT_EQ(revision(), before + 2);
}

TEST_F(LogHead, TellsNoNodeAnything) {
  const std::string node = world.Join("a");
  world.Hello(1, node);
  const size_t sent = world.pushed[1].size();
  world.Step(TickAt(7));
  EXPECT_EQ(Stored().entries(), 7u);
  EXPECT_EQ(world.pushed[1].size(), sent);
}

TEST_F(LogHead, IsHeldAgainstWhatTheLogHas) {
  world.Step(TickAt(3));
  const state::v1::LogHeadRecord head = Stored();
  EXPECT_OK(
      ca::CheckLogEnd(head, {.entries = 3, .hash = head.hash(), .anchored_hash = head.hash()}));
  EXPECT_OK(ca::CheckLogEnd(head, {.entries = 9, .hash = "z", .anchored_hash = head.hash()}));
  EXPECT_OK(ca::CheckLogEnd(state::v1::LogHeadRecord(), {.entries = 0}));
  EXPECT_THAT(ca::CheckLogEnd(head, {.entries = 2, .hash = "x", .anchored_hash = ""}),
              StatusIs(StatusCode::kDataLoss, AllOf(HasSubstr("ends after 2 entries, and it had 3"),
                                                    HasSubstr("--accept-log-end 2/"))));
  EXPECT_THAT(ca::CheckLogEnd(head, {.entries = 9, .hash = "z", .anchored_hash = "another"}),
              StatusIs(StatusCode::kDataLoss, "another entry 2"));
}

// "4/0123abcd", from the end of a refusal.
std::string LossNamedBy(const absl::Status& refused) {
  const std::string text(refused.message());
  const size_t begin = text.find("--accept-log-end ") + 17;
  return text.substr(begin, text.find(',', begin) - begin);
}

TEST_F(LogHead, IsLessByAWordForOneLossOnlyAlsoWhereTheNumbersAreTheSameAgain) {
  world.Join("a");
  world.Step(TickAt(9));
  const ca::LogEnd found{.entries = 0, .hash = "", .anchored_hash = ""};
  const std::string loss = LossNamedBy(ca::CheckLogEnd(Stored(), found));
  const ca::Profile& profile = world.options.profile;
  ASSERT_OK_AND_ASSIGN(const auto batch,
                       ca::AcceptLogEnd(world.core->registry(), profile, loss, found, world.now));
  ASSERT_OK(world.store.Commit(batch));
  world.Restart();
  ca::event::Tick tick = TickAt(9);
  tick.log_head = "another nine";
  world.Step(tick);
  ASSERT_EQ(Stored().entries(), 9u);
  EXPECT_THAT(ca::AcceptLogEnd(world.core->registry(), profile, loss, found, world.now).status(),
              StatusIs(StatusCode::kInvalidArgument, "another loss"));
}

TEST_F(LogHead, IsLessOnlyByAWordThatNamesTheEndAndThenGatesWaitForWhatIsLost) {
  const std::string node = world.Join("a");
  world.Step(TickAt(9));
  const ca::LogEnd found{.entries = 4, .hash = "four", .anchored_hash = ""};
  const auto& registry = world.core->registry();
  const ca::Profile& profile = world.options.profile;
  const std::string loss = LossNamedBy(ca::CheckLogEnd(Stored(), found));
  for (const std::string& other : {std::string("5/") + loss.substr(2), std::string("4/00")}) {
    EXPECT_THAT(ca::AcceptLogEnd(registry, profile, other, found, world.now).status(),
                StatusIs(StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("another loss"), HasSubstr("ends after 4 entries"))));
  }
  ASSERT_OK_AND_ASSIGN(const auto batch,
                       ca::AcceptLogEnd(registry, profile, loss, found, world.now));
  ASSERT_OK(world.store.Commit(batch));
  world.Restart();
  EXPECT_EQ(Stored().entries(), 4u);
  EXPECT_EQ(Stored().lost(), 5u);
  EXPECT_OK(ca::CheckLogEnd(Stored(), {.entries = 4, .hash = "four", .anchored_hash = "four"}));
  ca::Outstanding outstanding;
  ca::CountLost(world.core->registry(), world.core->authorities(), &outstanding);
  const absl::Time until = world.now + profile.node_ttl;
  EXPECT_EQ(outstanding.OfNode(node), until);
  const auto& issuer = world.core->authorities().active().certificate;
  EXPECT_EQ(outstanding.UnderIssuer(issuer.public_key().pin().bytes()), until);
  ASSERT_EQ(batch.size(), 2u);
  ASSERT_OK_AND_ASSIGN(const auto change, ca::ReadChange({batch[1].key, *batch[1].value, 1}));
  EXPECT_EQ(change.method(), "accept_log_end");
  EXPECT_THAT(change.records(0).before(), HasSubstr("9"));
}

}  // namespace
}  // namespace linchpin::test
