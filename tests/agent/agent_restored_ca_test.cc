// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A CA whose store was put back from a copy, as the agent sees it.

#include "agent/core/agent_core.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_harness.h"

namespace linchpin::test {
namespace {

const std::vector<std::string> kWeb = {"unix:uid:1"};

struct Serving : AgentHarness {
  Serving() {
    Join();
    Register("i1", "/web", kWeb, 2);
    Open("c", kWeb);
  }
};

// A store that was put back from a copy counts on from the copy's epoch.
TEST(RestoredCa, IsFollowedToAnEarlierEpochOfAnotherLifeAndToNoneOfItsOwn) {
  Serving agent;
  agent.SayTrust(agent.authority.Message(8), 3);
  agent.Restart();
  agent.Open("c", kWeb);
  EXPECT_FALSE(agent.hellos.back().trust_digest().empty());
  EXPECT_EQ(agent.hellos.back().trust_digest(), trust::OfferDigest(agent.authority.Message(8)));
  agent.SayTrust(agent.authority.Message(4), 4);
  EXPECT_EQ(agent.core->model().trust_epoch(), 8u);
  EXPECT_THAT(agent.acks.back().refused(), ::testing::HasSubstr("linchpin ca restored"));

  agent.incarnation = "restored";
  ca::v1::CaMessage message = agent.Message(2);
  message.set_reset(true);
  trust::v1::TrustState worse = agent.authority.Message(3);
  worse.clear_anchors();
  *message.mutable_trust() = worse;
  agent.Say(message);
  EXPECT_EQ(agent.core->model().trust_epoch(), 8u) << "what is refused begins no life";
  agent.SayTrust(agent.authority.Message(4), 3);
  EXPECT_EQ(agent.core->model().trust_epoch(), 4u);
  EXPECT_EQ(agent.acks.back().trust_epoch(), 4u);
  EXPECT_EQ(agent.acks.back().trust_digest(), trust::OfferDigest(agent.authority.Message(4)));
  EXPECT_EQ(agent.Last("c")->trust_epoch(), 4u);
  agent.SayTrust(agent.authority.Message(3), 4);
  EXPECT_EQ(agent.core->model().trust_epoch(), 4u) << "within it none goes back";
}

TEST(RestoredCa, IsToldNoEpochByAServiceOfAnEarlierLife) {
  Serving agent;
  agent.SayTrust(agent.authority.Message(8), 3);
  agent::v1::ReportRequest report;
  report.set_consumer_id("c");
  const auto enforce = [&] {
    report.set_trust_epoch(agent.Last("c")->trust_epoch());
    report.set_trust_digest(agent.Last("c")->trust_digest());
    agent.Do(agent::event::ConsumerReported{report});
    agent.Advance(absl::Seconds(1));
  };
  const auto shown = [&] {
    uint64_t epoch = 0;
    for (const auto& ack : agent.acks) {
      if (ack.consumers_size() > 0) epoch = ack.consumers(0).trust_epoch();
    }
    return epoch;
  };
  enforce();
  EXPECT_EQ(shown(), 8u);
  // Another state by the same number, of the same store even.
  trust::v1::TrustState other = agent.authority.Message(8);
  other.add_revocations()->set_serial("\x01");
  agent.SayTrust(other, 4);
  agent.Advance(absl::Seconds(1));
  EXPECT_EQ(shown(), 0u);
  enforce();
  EXPECT_EQ(shown(), 8u);
}

}  // namespace
}  // namespace linchpin::test
