// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/policy_coverage.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"
#include "trust/mtls_context.h"

namespace linchpin::test {
namespace {

using ::testing::HasSubstr;

// Node a has /web, which node b never hears of.
class PolicyOfAFleet : public ::testing::Test {
 protected:
  PolicyOfAFleet() {
    EXPECT_OK(world.Register("/web", {a}));
    world.Hello(1, a, world.HelloHolding(1));
    world.Hello(2, b, world.HelloHolding(1));
    Acknowledge(1);
    Acknowledge(2);
  }
  static trust::v1::PeerRule Rule(const std::string& from, const std::string& to) {
    trust::v1::PeerRule rule;
    rule.set_from(Id(from));
    rule.set_to(Id(to));
    rule.set_outbound(true);
    rule.set_inbound(true);
    return rule;
  }
  uint64_t Allow(const std::string& from, const std::string& to) {
    const auto made = world.Admin<ca::v1::PolicyChange>(ca::AllowPeer{Rule(from, to)});
    EXPECT_OK(made);
    return made.ok() ? made->revision() : 0;
  }
  // All that was sent, with these services.
  void Acknowledge(ca::SessionId session, const std::vector<ca::v1::Consumer>& services = {}) {
    ca::v1::Ack ack = world.Holding(1);
    ack.set_revision(world.pushed[session].back().revision());
    for (const ca::v1::Consumer& service : services) *ack.add_consumers() = service;
    world.Step(ca::event::NodeAck{session, ack});
  }
  // What agents say of a process that enforces these rules for its identities.
  static std::string DigestOf(const std::vector<std::string>& identities,
                              const std::vector<trust::v1::PeerRule>& rules) {
    std::map<trust::SpiffeId, trust::PeerPolicy> policies;
    for (const std::string& path : identities) {
      const trust::SpiffeId id = *trust::SpiffeId::Parse(Id(path));
      policies.emplace(id, *trust::PeerPolicy::ForIdentity(id, rules));
    }
    return trust::TrustDigest({}, policies);
  }
  static ca::v1::Consumer Service(const std::string& id, const std::string& path,
                                  const std::string& digest,
                                  ca::v1::Evidence evidence = ca::v1::IN_FORCE) {
    ca::v1::Consumer consumer;
    consumer.set_consumer_id(id);
    consumer.set_spiffe_id(Id(path));
    consumer.set_trust_epoch(1);
    consumer.set_evidence(evidence);
    consumer.set_trust_digest(digest);
    return consumer;
  }
  static ca::v1::Consumer Web(const std::vector<trust::v1::PeerRule>& rules,
                              ca::v1::Evidence evidence = ca::v1::IN_FORCE) {
    return Service("p/i", "/web", DigestOf({"/web"}, rules), evidence);
  }
  absl::StatusOr<ca::v1::Coverage> Ask(uint64_t revision = 0) {
    ca::v1::CoverageRequest asked;
    asked.set_policy(true);
    asked.set_revision(revision);
    return world.Admin<ca::v1::Coverage>(asked);
  }
  bool Complete() { return Ask()->complete(); }

  CoreWorld world;
  const std::string a = world.Join("a");
  const std::string b = world.Join("b");
};

TEST_F(PolicyOfAFleet, IsNotCompleteBeforeANodeHasNamedTheLastOfItsServices) {
  ca::v1::Ack ack = world.Holding(0);  // as those are that name the first
  ack.set_revision(world.pushed[1].back().revision());
  world.Step(ca::event::NodeAck{1, ack});
  ca::v1::CoverageRequest asked;
  asked.set_policy(true);
  ASSERT_OK_AND_ASSIGN(const auto named, world.Admin<ca::v1::Coverage>(asked));
  EXPECT_FALSE(named.complete());
  Acknowledge(1);
  ASSERT_OK_AND_ASSIGN(const auto all, world.Admin<ca::v1::Coverage>(asked));
  EXPECT_TRUE(all.complete()) << all.ShortDebugString();
}

TEST_F(PolicyOfAFleet, WaitsForTheNodesThatItConcernsAndTheirServices) {
  Acknowledge(1, {Web({})});
  EXPECT_TRUE(Complete());
  const uint64_t revision = Allow("/web", "/db");
  ASSERT_OK_AND_ASSIGN(ca::v1::Coverage coverage, Ask());
  EXPECT_EQ(coverage.revision(), revision);
  EXPECT_FALSE(coverage.complete());
  EXPECT_EQ(coverage.count().nodes_covered(), 1u) << "b is sent nothing of it, and has it";
  EXPECT_EQ(coverage.nodes(0).node_id(), a);
  EXPECT_THAT(coverage.nodes(0).why_late(), HasSubstr("holds revision"));

  Acknowledge(1);
  ASSERT_OK_AND_ASSIGN(coverage, Ask(revision));
  EXPECT_FALSE(coverage.complete());
  EXPECT_THAT(coverage.nodes(0).why_late(), HasSubstr(Id("/web") + " enforces the rules of now"));
  EXPECT_FALSE(coverage.nodes(0).consumers(0).current());

  Acknowledge(1, {Web({Rule("/web", "/db")})});
  ASSERT_OK_AND_ASSIGN(coverage, Ask(revision));
  EXPECT_TRUE(coverage.complete());
  EXPECT_EQ(coverage.count().in_force(), 1u);
  const bool first = coverage.nodes(0).node_id() == a;
  EXPECT_TRUE(coverage.nodes(first ? 0 : 1).consumers(0).current());
}

TEST_F(PolicyOfAFleet, IsNotSaidOfWhoShowsNothingOrWasOnlyJustTold) {
  Acknowledge(1, {Web({}, ca::v1::NONE)});
  EXPECT_FALSE(Complete());
  Acknowledge(1, {Web({}, ca::v1::DELIVERED)});
  EXPECT_FALSE(Complete());
  world.now += ca::Coverage::kSettling;
  EXPECT_TRUE(Complete());
  EXPECT_EQ(Ask()->count().assumed(), 1u);
  Allow("/web", "/db");
  Acknowledge(1, {Web({Rule("/web", "/db")}, ca::v1::DELIVERED)});
  EXPECT_FALSE(Complete()) << "these rules have not settled";
}

TEST_F(PolicyOfAFleet, IsNotSaidByAnAgentButComparedHere) {
  Allow("/web", "/db");
  ca::v1::Consumer web = Web({});
  web.set_current(true);
  Acknowledge(1, {web});
  EXPECT_FALSE(Complete());
  EXPECT_FALSE(Ask()->nodes(0).consumers(0).current());
}

TEST_F(PolicyOfAFleet, IsThatOfAllIdentitiesOfAProcess) {
  ASSERT_OK(world.Register("/api", {a}));
  Allow("/web", "/db");
  const auto rule = Rule("/web", "/db");
  const std::string both = DigestOf({"/web", "/api"}, {rule});
  Acknowledge(1, {Service("1/x/i", "/web", both), Service("1/x/j", "/api", both),
                  Service("1/y/i", "/web", DigestOf({"/web"}, {rule}))});
  EXPECT_TRUE(Complete());
  Acknowledge(1, {Service("1/x/j", "/api", DigestOf({"/api"}, {rule}))});
  EXPECT_FALSE(Complete());
}

TEST_F(PolicyOfAFleet, ThatIsTakenBackIsTheOldOneAgain) {
  Acknowledge(1, {Web({})});
  Allow("/web", "/db");
  Acknowledge(1, {Web({Rule("/web", "/db")})});
  ASSERT_OK(world.Admin<ca::v1::PolicyChange>(ca::DeletePolicy{Rule("/web", "/db")}));
  Acknowledge(1);
  EXPECT_FALSE(Complete());
  Acknowledge(1, {Web({})});
  EXPECT_TRUE(Complete());
}

TEST_F(PolicyOfAFleet, ThatIsSilentIsWhatItAcknowledgedLast) {
  Acknowledge(1, {Web({})});
  world.Step(ca::event::NodeGone{1});
  EXPECT_TRUE(Complete());
  const uint64_t revision = Allow("/web", "/db");
  ASSERT_OK_AND_ASSIGN(ca::v1::Coverage coverage, Ask());
  EXPECT_THAT(coverage.nodes(0).why_late(), HasSubstr("is silent since"));
  EXPECT_THAT(Ask(revision + 1), StatusIs(absl::StatusCode::kInvalidArgument, "not there yet"));
}

TEST_F(PolicyOfAFleet, IsHeldByANodeThatIsSentNothingOfIt) {
  const uint64_t revision = Allow("/web", "/db");
  ASSERT_OK_AND_ASSIGN(const auto nodes, world.Admin<ca::v1::NodeList>(ca::v1::ListNodesRequest()));
  for (const ca::v1::Node& node : nodes.nodes()) {
    EXPECT_EQ(node.revision_held() >= revision, node.node_id() == b) << node.node_id();
  }
}

TEST_F(PolicyOfAFleet, IsNotHeldByANodeThatSpeaksOfAnotherPast) {
  const uint64_t revision = Allow("/web", "/db");
  ca::v1::Hello hello = world.HelloHolding(1);
  hello.set_incarnation("another");
  hello.set_revision(revision + 100);
  world.Hello(3, b, hello);
  EXPECT_EQ(Ask()->count().nodes_covered(), 0u);
  Acknowledge(3);
  EXPECT_EQ(Ask()->count().nodes_covered(), 1u);
}

TEST_F(PolicyOfAFleet, IsAskedOfNodesAnewWhenTheCaHasStartedAgain) {
  Acknowledge(1, {Web({})});
  const uint64_t revision = Ask()->revision();
  world.Restart();
  EXPECT_GE(Ask()->revision(), revision);
  EXPECT_EQ(Ask()->count().nodes_covered(), 0u);
  EXPECT_THAT(Ask()->nodes(0).why_late(), HasSubstr("since this CA started"));
}

}  // namespace
}  // namespace linchpin::test
