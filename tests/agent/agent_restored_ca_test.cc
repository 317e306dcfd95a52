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
  // All anew, of another life, in which just the same holds.
  void RestoreCa(const std::string& life = "restored", uint64_t revision = 3) {
    incarnation = life;
    ca::v1::CaMessage message = Message(revision);
    message.set_reset(true);
    *message.mutable_trust() = authority.Message(8);
    ca::v1::NodeIdentity* identity = message.add_identities();
    identity->set_identity_id("i1");
    identity->set_spiffe_id(authority.Id("/web").ToString());
    identity->add_selectors(kWeb[0]);
    identity->set_order(2);
    Say(message);
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

TEST(RestoredCa, OfALifeThatWasLeftIsKnownAfterARestart) {
  Serving agent;
  agent.SayTrust(agent.authority.Message(8), 3);
  const std::string first = std::exchange(agent.incarnation, "restored");
  const auto begin_life = [&](uint64_t epoch) {
    ca::v1::CaMessage message = agent.Message(2);
    message.set_reset(true);
    *message.mutable_trust() = agent.authority.Message(epoch);
    agent.Say(message);
  };
  begin_life(5);
  ASSERT_EQ(agent.core->model().trust_epoch(), 5u);
  agent.Restart();
  agent.incarnation = first;  // a copy of it is put back, and nobody says so
  begin_life(4);
  EXPECT_EQ(agent.core->model().trust_epoch(), 5u);
  EXPECT_THAT(agent.acks.back().refused(), ::testing::HasSubstr("was left for another once"));
}

// Its registrations and rules are as old as its trust.
TEST(RestoredCa, OfALifeThatWasLeftNothingIsTakenUntilItBeginsAnother) {
  Serving agent;
  agent.SayTrust(agent.authority.Message(8), 3);
  const std::string first = agent.incarnation;
  agent.RestoreCa();
  agent.Register("i2", "/api", {"unix:uid:2"}, 4);
  const auto before = agent.core->model().projection->Digest();
  agent.incarnation = first;
  ca::v1::CaMessage message = agent.Message(9);
  message.set_reset(true);
  *message.mutable_trust() = agent.authority.Message(20);
  agent.Say(message);
  EXPECT_EQ(agent.core->model().trust_epoch(), 8u);
  EXPECT_EQ(agent.core->model().projection->Digest(), before);
  EXPECT_EQ(agent.core->model().certificates.count("i1"), 1u);
  EXPECT_EQ(agent.core->model().incarnation, "restored");
  EXPECT_THAT(agent.acks.back().refused(), ::testing::HasSubstr("was left for another once"));
  agent.Register("i3", "/old", kWeb, 10);
  EXPECT_EQ(agent.core->model().projection->Digest(), before);
  EXPECT_TRUE(agent.core->connected());

  agent.Do(agent::event::SyncClosed{agent.stream, absl::UnavailableError("down")});
  agent.incarnation = "restored";  // the true one is back, and has no news of trust
  agent.Advance(absl::Seconds(12));
  ASSERT_TRUE(agent.core->connected());
  agent.Register("i4", "/more", {"unix:uid:4"}, 5);
  EXPECT_EQ(agent.core->model().projection->identities.size(), 3u);
  EXPECT_EQ(agent.acks.back().refused(), "");

  agent.incarnation = first;
  message = agent.Message(11);
  message.set_reset(true);
  *message.mutable_trust() = agent.authority.Message(21);
  agent.Say(message);
  EXPECT_NE(agent.acks.back().refused(), "");
  agent.RestoreCa("goes on", 12);
  EXPECT_EQ(agent.core->model().incarnation, "goes on");
  EXPECT_EQ(agent.core->model().projection->identities.size(), 1u);
  EXPECT_EQ(agent.acks.back().refused(), "");
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

// It would say nothing of what it was told already, and what it said may be of then.
TEST(RestoredCa, IsToldOfByAnotherStreamWhereAServiceWasToldTheSameBefore) {
  Serving agent;
  agent.SayTrust(agent.authority.Message(8), 3);
  const auto report = [&](const std::string& consumer) {
    agent::v1::ReportRequest said;
    said.set_consumer_id(consumer);
    said.set_trust_epoch(agent.Last(consumer)->trust_epoch());
    said.set_trust_digest(agent.Last(consumer)->trust_digest());
    agent.Do(agent::event::ConsumerReported{said});
    agent.Advance(absl::Seconds(1));
  };
  const auto shown = [&] {
    uint64_t epoch = 99;
    for (const auto& [id, consumer] : agent.core->consumers().all()) {
      epoch = std::min(epoch, consumer.shown ? consumer.epoch : 0);
    }
    return epoch;
  };
  report("c");
  EXPECT_EQ(shown(), 8u);
  const size_t told = agent.deliveries["c"].size();
  agent.RestoreCa();
  EXPECT_EQ(agent.deliveries["c"].size(), told);
  EXPECT_TRUE(absl::IsUnavailable(agent.ended["c"])) << agent.ended["c"];
  report("c");
  EXPECT_EQ(shown(), 0u) << "said of the life before";
  agent.Do(agent::event::ConsumerClosed{"c"});
  EXPECT_EQ(shown(), 0u) << "its process goes on";
  agent.Do(agent::event::ConsumerOpened{"again", "process of c", kWeb, ca::v1::IN_FORCE});
  EXPECT_EQ(shown(), 0u);
  report("again");
  EXPECT_EQ(shown(), 8u);
}

TEST(RestoredCa, EndsNoStreamOfWhichNothingIsAsked) {
  Serving agent;
  agent.SayTrust(agent.authority.Message(8), 3);
  agent.Do(agent::event::ConsumerHolds{"c", ca::v1::DELIVERED, ""});
  agent.RestoreCa();
  EXPECT_TRUE(agent.ended.empty());
  EXPECT_EQ(agent.core->consumers().all().at("c").epoch, 8u);
}

}  // namespace
}  // namespace linchpin::test
