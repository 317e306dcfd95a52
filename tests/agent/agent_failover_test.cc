// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What an agent does about a failover: before it, it says whether it would take what the backup
// signs; after it, it renews what the old issuer certified.

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_harness.h"
#include "trust/canary.h"

namespace linchpin::test {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Fleet : AgentHarness {
  explicit Fleet(uint64_t seed = 1) : AgentHarness(seed) {
    Join();
    Register("i1", "/web", {"unix:uid:1"}, 2);
    Open("c", {"unix:uid:1"});
    issues.clear();
  }
  trust::v1::Canary CanaryOf(const Certified& signer) const {
    trust::v1::Canary canary;
    canary.set_issuer_key_sha256(signer.key.public_key().pin().bytes());
    canary.set_leaf(
        trust::MakeCanary(authority.trust_domain(), signer.certificate, signer.key, "\x40serial")
            ->der());
    return canary;
  }
  trust::v1::TrustState Replacing(absl::Time from, absl::Time until) const {
    trust::v1::TrustState trust = authority.Message(2);
    trust::v1::Replacement* replacement = trust.add_replacements();
    replacement->set_issuer(authority.active().certificate.der());
    replacement->set_from(absl::ToUnixSeconds(from));
    replacement->set_until(absl::ToUnixSeconds(until));
    return trust;
  }
};

TEST(AgentCanary, IsJudgedByTheTrustThatIsHeldAndTheVerdictIsAcknowledged) {
  Fleet agent;
  trust::v1::TrustState trust = agent.authority.Message(2);
  *trust.add_canaries() = agent.CanaryOf(agent.authority.backup());
  *trust.add_canaries() = agent.CanaryOf(TestAuthority("example.org", "stranger").backup());
  agent.SayTrust(trust, 3);
  const ca::v1::Ack& ack = agent.acks.back();
  EXPECT_EQ(ack.trust_epoch(), 2u);
  ASSERT_THAT(ack.canaries(), SizeIs(2));
  EXPECT_TRUE(ack.canaries(0).good()) << ack.canaries(0).why();
  EXPECT_FALSE(ack.canaries(1).good());
  EXPECT_NE(ack.canaries(1).why(), "");
}

TEST(AgentFailover, RenewsWhatTheOldIssuerCertifiedOnceAndWithinTheWindow) {
  Fleet agent;
  agent.Advance(absl::Seconds(10));
  const absl::Time from = agent.now + absl::Seconds(2);
  agent.SayTrust(agent.Replacing(from, from + absl::Seconds(60)), 3);
  EXPECT_THAT(agent.issues, IsEmpty()) << "not at once";
  agent.Advance(absl::Seconds(1));
  EXPECT_THAT(agent.issues, IsEmpty());
  agent.Advance(absl::Seconds(62));
  EXPECT_THAT(agent.issues, SizeIs(1));
  agent.Advance(absl::Seconds(120));
  EXPECT_THAT(agent.issues, SizeIs(1)) << "though the CA has not changed its issuer";
}

TEST(AgentFailover, RenewsAtInstantsThatAreSpreadOverTheWindowAndStayAfterARestart) {
  std::set<absl::Time> drawn;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Fleet agent(seed);
    const absl::Time from = agent.now + absl::Seconds(2);
    const trust::v1::TrustState trust = agent.Replacing(from, from + absl::Seconds(60));
    const agent::Certified& held = *agent.core->model().certificates.at("i1");
    const absl::Time at = agent::RenewAt(held, trust);
    EXPECT_GE(at, from);
    EXPECT_LT(at, from + absl::Seconds(60));
    drawn.insert(at);
    agent.ca_up = false;
    agent.Restart();
    EXPECT_EQ(agent::RenewAt(*agent.core->model().certificates.at("i1"), trust), at);
  }
  EXPECT_GT(drawn.size(), 30u);
}

TEST(AgentFailover, RenewsWhatCameBeforeTheFailoverThoughTheNodesClockIsAhead) {
  Fleet agent;
  agent.ca_clock_ahead = -absl::Seconds(40);
  agent.Register("i2", "/late", {"unix:uid:1"}, 3);
  agent.Advance(absl::Seconds(1));
  ASSERT_EQ(agent.core->model().certificates.count("i2"), 1u)
      << ::testing::PrintToString(agent.alarms) << ::testing::PrintToString(agent.notes);
  const agent::Certified& held = *agent.core->model().certificates.at("i2");
  const absl::Time ca_now = agent.now + agent.ca_clock_ahead;
  const absl::Time from = ca_now + absl::Seconds(2);
  const absl::Time until = from + absl::Seconds(60);
  EXPECT_LT(agent::RenewAt(held, agent.Replacing(from, until)), until);
  const trust::v1::TrustState before = agent.Replacing(ca_now - absl::Seconds(2), until);
  EXPECT_EQ(agent::RenewAt(held, before), held.renew_at) << "it came after the failover";
}

}  // namespace
}  // namespace linchpin::test
