// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The twins that a CA sends, on their way to the services.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_harness.h"

namespace linchpin::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

struct ServingTwins : AgentHarness {
  ServingTwins() {
    Join();
    Register("i1", "/web", {"unix:uid:1"}, 2);
    Open("c", {"unix:uid:1"});
  }
  std::vector<std::string> Given() const {
    const auto& twins = Last("c")->trust_domains(0).twins();
    return {twins.begin(), twins.end()};
  }
  std::string active = TwinOf(authority.active()).der();
  std::string backup = TwinOf(authority.backup()).der();
};

TEST(AgentTwins, ReachTheServices) {
  ServingTwins agent;
  EXPECT_THAT(agent.Given(), UnorderedElementsAre(agent.active, agent.backup));
  EXPECT_THAT(agent.alarms, IsEmpty());
}

TEST(AgentTwins, SurviveARestart) {
  ServingTwins agent;
  agent.ca_up = false;
  agent.deliveries.clear();
  agent.Restart();
  agent.Open("c", {"unix:uid:1"});
  ASSERT_NE(agent.Last("c"), nullptr);
  EXPECT_THAT(agent.Given(), UnorderedElementsAre(agent.active, agent.backup));
}

TEST(AgentTwins, AChangeOfThemAloneIsDeliveredUnderTheSameTrustDigest) {
  ServingTwins agent;
  const std::string digest = agent.Last("c")->trust_digest();
  trust::v1::TrustState trust = agent.authority.Message(2);
  trust.mutable_twins()->RemoveLast();
  agent.SayTrust(trust, 3);
  ASSERT_THAT(agent.deliveries["c"], SizeIs(2));
  EXPECT_THAT(agent.Given(), ElementsAre(agent.active));
  EXPECT_EQ(agent.Last("c")->trust_digest(), digest);
  agent.SayTrust(trust, 4);
  EXPECT_THAT(agent.deliveries["c"], SizeIs(2)) << "nothing changed";
}

TEST(AgentTwins, AWrongOneIsLeftOutAndAlarmedAndStopsNothing) {
  ServingTwins agent;
  trust::v1::TrustState trust = agent.authority.Message(2);
  trust.set_twins(0, TwinOf(TestAuthority("example.org", "stranger").active()).der());
  for (int i = 0; i < 5; ++i) trust.add_twins(std::to_string(i));
  agent.SayTrust(trust, 3);
  EXPECT_EQ(agent.Last("c")->trust_epoch(), 2u);
  EXPECT_THAT(agent.Given(), ElementsAre(agent.backup));
  EXPECT_TRUE(agent.Alarmed("is a twin of no issuer"));
  EXPECT_TRUE(agent.Alarmed("; 3 more are left out"));
  EXPECT_THAT(agent.alarms, SizeIs(3));
  EXPECT_EQ(agent.acks.back().refused(), "");
}

TEST(AgentTwins, OneOfAnIssuerThatIsNotPinnedIsNotHandedOut) {
  ServingTwins agent;
  trust::v1::TrustState trust = agent.authority.Message(2);
  trust.mutable_declared_issuers()->RemoveLast();
  agent.SayTrust(trust, 3);
  EXPECT_THAT(agent.Given(), ElementsAre(agent.active));
  EXPECT_THAT(agent.alarms, IsEmpty());
}

TEST(AgentTwins, OneThatHasExpiredIsNotHandedOut) {
  ServingTwins agent;
  agent.issue_status = agent.attest_status = absl::UnavailableError("down");
  agent.now += absl::Hours(24 * 91);
  agent.SayTrust(agent.authority.Message(2), 3);
  EXPECT_EQ(agent.Last("c")->trust_epoch(), 2u);
  EXPECT_THAT(agent.Given(), IsEmpty());
}

TEST(AgentTwins, WhenThePinsExpireServicesAreToldOnceMore) {
  ServingTwins agent;
  const std::vector<std::string> signers = {"alice", "bob"};
  trust::v1::PinSet set = agent.authority.PinSetMessage(1, signers, 2);
  set.set_expires_at(absl::ToUnixSeconds(agent.now + absl::Minutes(5)));
  set.set_on_expiry(trust::v1::PinSet::RELAX);
  trust::v1::TrustState trust = agent.authority.Message(2);
  *trust.add_pin_sets() = Sign(set, signers);
  agent.SayTrust(trust, 3);
  ASSERT_EQ(agent.Last("c")->trust_epoch(), 2u);
  const size_t before = agent.deliveries["c"].size();
  const std::string digest = agent.Last("c")->trust_digest();
  agent.Advance(absl::Minutes(5) - absl::Seconds(1));
  EXPECT_THAT(agent.deliveries["c"], SizeIs(before));
  agent.Advance(absl::Seconds(2));
  EXPECT_THAT(agent.deliveries["c"], SizeIs(before + 1));
  EXPECT_NE(agent.Last("c")->trust_digest(), digest);
  EXPECT_TRUE(agent.Last("c")->trust_domains(0).pins().expired());
  agent.Advance(absl::Minutes(1));
  EXPECT_THAT(agent.deliveries["c"], SizeIs(before + 1));
}

}  // namespace
}  // namespace linchpin::test
