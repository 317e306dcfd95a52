// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/agent_core.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_harness.h"

namespace linchpin::test {
namespace {

using ::testing::SizeIs;

const std::vector<std::string> kWeb = {"unix:uid:1"};

TEST(AgentClock, AClockThatIsSetBackStopsNoFirstContact) {
  AgentHarness agent;
  agent.now = kNow + absl::Hours(8);  // a machine that began with its clock far ahead
  agent.ca_up = false;
  agent.Start();
  agent.Advance(absl::Minutes(2));
  agent.now = kNow;
  agent.ca_up = true;
  agent.Do(agent::event::TimerFired{});  // the adaptor looks at least every minute
  agent.Advance(absl::Minutes(1));
  EXPECT_TRUE(agent.core->connected());
  EXPECT_EQ(agent.core->NotReady(agent.now), "");
}

// A machine that has been up for an hour, and a service on it.
struct ServedForAMinute : AgentHarness {
  ServedForAMinute() {
    uptime = absl::Hours(1);
    Join();
    Register("i1", "/web", kWeb, 2);
    Open("served", kWeb);
    Advance(absl::Minutes(1));
  }
};

TEST(AgentClock, AClockThatJumpsAheadLetsNoGateOverlookAServiceWhoseLeafIsValid) {
  ServedForAMinute agent;
  agent.Unregister("i1", 3);  // the service goes on with what it has
  agent.Advance(absl::Minutes(1));
  agent.acks.clear();
  agent.now += absl::Hours(3);
  agent.ca_clock_ahead = -absl::Hours(3);
  agent.Do(agent::event::TimerFired{});
  agent.now -= absl::Hours(3);
  agent.ca_clock_ahead = absl::ZeroDuration();
  agent.Do(agent::event::TimerFired{});
  agent.Advance(absl::Minutes(1));
  for (const ca::v1::Ack& ack : agent.acks) EXPECT_THAT(ack.gone(), SizeIs(0));
  agent.acks.clear();
  agent.Advance(absl::Hours(2));
  size_t gone = 0;
  for (const ca::v1::Ack& ack : agent.acks) gone += ack.gone_size();
  EXPECT_EQ(gone, 1u) << "its leaf has expired by both clocks";
}

TEST(AgentClock, AClockThatIsSetBackStopsNoRetry) {
  AgentHarness agent;
  agent.Join();
  agent.Register("i1", "/web", kWeb, 2);
  agent.Advance(absl::Minutes(10));
  agent.ca_up = false;
  agent.Open("c", kWeb);
  agent.Do(agent::event::SyncClosed{agent.stream, absl::UnavailableError("down")});
  agent.Advance(absl::Minutes(1));
  agent.now -= absl::Minutes(10);
  agent.ca_up = true;
  agent.Do(agent::event::TimerFired{});
  agent.Advance(absl::Minutes(1));
  EXPECT_TRUE(agent.core->connected());
  ASSERT_NE(agent.Last("c"), nullptr);
  EXPECT_EQ(agent.Last("c")->identities_size(), 1);
}

TEST(AgentClock, AServiceThatCameWhileTheClockWasAheadIsServedOnceItIsSetRight) {
  ServedForAMinute agent;
  agent.ca_up = false;
  agent.now += absl::Hours(3);
  agent.Do(agent::event::TimerFired{});
  agent.Open("c", kWeb);
  ASSERT_NE(agent.Last("c"), nullptr);
  EXPECT_EQ(agent.Last("c")->identities_size(), 0) << "all has expired by this clock";
  agent.now -= absl::Hours(3);
  agent.Do(agent::event::TimerFired{});
  EXPECT_EQ(agent.Last("c")->identities_size(), 1);
}

// Served, and the agent restarted with the service still away.
struct Restarted : AgentHarness {
  Restarted() {
    Join();
    Register("i1", "/web", kWeb, 2);
    Open("c", kWeb);
    hellos.clear();
    Restart();
    acks.clear();
  }
};

TEST(AgentRestart, AServiceThatHasNotComeBackCountsAsUncovered) {
  Restarted agent;
  ASSERT_THAT(agent.hellos, SizeIs(1));
  ASSERT_EQ(agent.hellos[0].consumers_size(), 1);
  EXPECT_EQ(agent.hellos[0].consumers(0).consumer_id(), "<restart>/i1");
  EXPECT_EQ(agent.hellos[0].consumers(0).spiffe_id(), "spiffe://example.org/web");
  EXPECT_EQ(agent.hellos[0].consumers(0).evidence(), ca::v1::NONE);
  agent.Open("d", kWeb);
  ASSERT_FALSE(agent.acks.empty());
  EXPECT_EQ(agent.acks.back().gone_size(), 0) << "it may have been served to others as well";
  ASSERT_EQ(agent.acks.back().consumers_size(), 1);
  EXPECT_EQ(agent.acks.back().consumers(0).consumer_id(), "process of d/i1");
}

TEST(AgentRestart, AServiceThatDoesNotComeBackIsNotWaitedForLong) {
  Restarted agent;
  agent.Open("other", {"unix:uid:2"});
  agent.Advance(absl::Seconds(29));
  EXPECT_THAT(agent.acks, SizeIs(0));
  agent.Advance(absl::Seconds(2));
  ASSERT_THAT(agent.acks, SizeIs(1));
  ASSERT_EQ(agent.acks[0].gone_size(), 1);
  EXPECT_EQ(agent.acks[0].gone(0), "<restart>/i1");
}

TEST(AgentRestart, AClockThatIsAheadThenLetsNoGateOverlookAServiceWhoseLeafIsValid) {
  ServedForAMinute agent;
  agent.hellos.clear();
  agent.acks.clear();
  agent.now += absl::Hours(3);
  agent.ca_up = false;
  agent.Restart();
  agent.now -= absl::Hours(3);
  agent.ca_up = true;
  agent.Do(agent::event::TimerFired{});
  agent.Advance(absl::Seconds(20));
  ASSERT_THAT(agent.hellos, SizeIs(1));
  ASSERT_EQ(agent.hellos[0].consumers_size(), 1);
  EXPECT_EQ(agent.hellos[0].consumers(0).consumer_id(), "<restart>/i1");
}

TEST(AgentRestart, NoProcessOutlivesItsMachine) {
  AgentHarness agent;
  agent.uptime = absl::Hours(1);
  agent.Join();
  agent.Register("i1", "/web", kWeb, 2);
  agent.Open("c", kWeb);
  agent.hellos.clear();
  agent.uptime = absl::Minutes(1);
  agent.Restart();
  ASSERT_THAT(agent.hellos, SizeIs(1));
  EXPECT_EQ(agent.hellos[0].consumers_size(), 0);
}

TEST(AgentIssuing, NamesThatChangeWhileACertificateIsMadeAreAskedForAgain) {
  AgentHarness agent;
  agent.Join();
  agent.Register("i1", "/web", kWeb, 2);
  agent.hold_issues = true;
  agent.Open("c", kWeb);
  ASSERT_THAT(agent.issues, SizeIs(1));
  ca::v1::CaMessage message = agent.Message(3);
  ca::v1::NodeIdentity* identity = message.add_identities();
  *identity = agent.core->model().projection->identities.at("i1");
  identity->add_dns_names("web.example.org");
  agent.Say(message);
  agent.hold_issues = false;
  agent.Release();
  EXPECT_THAT(agent.issues, SizeIs(2));
}

}  // namespace
}  // namespace linchpin::test
