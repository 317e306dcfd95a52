// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Who holds which trust, by what evidence, and when a gate waits for somebody no more.

#include "ca/core/coverage.h"

#include "ca/core/coverage_gate.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::Duration kBlink = absl::Milliseconds(1);

ca::v1::Consumer Consumer(const std::string& id, uint64_t epoch, ca::v1::Evidence evidence) {
  ca::v1::Consumer consumer;
  consumer.set_consumer_id(id);
  consumer.set_spiffe_id(Id("/web"));
  consumer.set_trust_epoch(epoch);
  consumer.set_evidence(evidence);
  return consumer;
}

// What is offered as that epoch.
trust::v1::TrustState Offer(uint64_t epoch) {
  trust::v1::TrustState offer;
  offer.set_epoch(epoch);
  return offer;
}

ca::v1::Ack Holds(uint64_t epoch, const std::vector<ca::v1::Consumer>& consumers = {}) {
  ca::v1::Ack ack;
  ack.set_trust_epoch(epoch);
  ack.set_trust_digest(trust::OfferDigest(Offer(epoch)));
  for (const ca::v1::Consumer& consumer : consumers) *ack.add_consumers() = consumer;
  return ack;
}

class CoverageOfANode : public ::testing::Test {
 protected:
  CoverageOfANode() {
    for (uint64_t epoch = 1; epoch <= 7; ++epoch) coverage.Offers(Offer(epoch));
  }
  uint64_t Covered() const { return coverage.CoveredEpoch(node, now); }

  const std::string node = Id("/linchpin/node/a");
  absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  ca::Coverage coverage;
};

TEST_F(CoverageOfANode, IsTheOldestOfWhatItAndItsServicesEnforce) {
  EXPECT_EQ(Covered(), 0u);
  coverage.Ack(node, Holds(7), now);
  EXPECT_EQ(Covered(), 7u);
  coverage.Ack(node, Holds(7, {Consumer("1", 6, ca::v1::IN_FORCE)}), now);
  EXPECT_EQ(Covered(), 6u);
  coverage.Ack(node, Holds(7, {Consumer("2", 7, ca::v1::NONE)}), now);
  EXPECT_EQ(Covered(), 0u) << "a service that shows nothing";
}

TEST_F(CoverageOfANode, AssumesWhatWasDeliveredOnlyOnceItHasSettled) {
  coverage.Ack(node, Holds(5, {Consumer("1", 5, ca::v1::DELIVERED)}), now);
  EXPECT_EQ(Covered(), 0u);
  now += ca::Coverage::kSettling;
  EXPECT_EQ(Covered(), 5u);
  coverage.Ack(node, Holds(6, {Consumer("1", 6, ca::v1::DELIVERED)}), now);
  EXPECT_EQ(Covered(), 5u) << "what had settled is not lost meanwhile";
  now += ca::Coverage::kSettling - kBlink;
  EXPECT_EQ(Covered(), 5u);
  now += kBlink;
  EXPECT_EQ(Covered(), 6u);
}

TEST_F(CoverageOfANode, OfWhatGoesBackNothingHasSettled) {
  coverage.Ack(node, Holds(5, {Consumer("1", 5, ca::v1::DELIVERED)}), now);
  now += ca::Coverage::kSettling;
  EXPECT_EQ(Covered(), 5u);
  coverage.Ack(node, Holds(3, {Consumer("1", 3, ca::v1::DELIVERED)}), now);
  EXPECT_EQ(Covered(), 0u) << "an epoch of another past";
  now += ca::Coverage::kSettling;
  EXPECT_EQ(Covered(), 3u);
}

TEST_F(CoverageOfANode, NeedNotSettleAgainOnAnotherStream) {
  coverage.Ack(node, Holds(5, {Consumer("1", 5, ca::v1::DELIVERED)}), now);
  now += ca::Coverage::kSettling;
  ca::v1::Hello hello;
  hello.set_trust_epoch(5);
  hello.set_trust_digest(Holds(5).trust_digest());
  *hello.add_consumers() = Consumer("1", 5, ca::v1::DELIVERED);
  coverage.Gone(node);
  coverage.Hello(node, hello, now);
  EXPECT_EQ(Covered(), 5u);
  hello.clear_consumers();
  coverage.Hello(node, hello, now);
  EXPECT_THAT(coverage.Find(node)->consumers, IsEmpty()) << "it is not named any more";
}

TEST_F(CoverageOfANode, IsNothingUntilTheNodeIsHeardWhateverWasRecorded) {
  coverage.Recorded(node, now - absl::Hours(1));
  EXPECT_EQ(Covered(), 0u);
  EXPECT_EQ(coverage.Find(node)->last_seen, now - absl::Hours(1));
  coverage.Ack(node, Holds(3), now);
  EXPECT_EQ(Covered(), 3u);
  coverage.Recorded(node, now - absl::Hours(1));
  EXPECT_EQ(coverage.Find(node)->last_seen, now);
}

TEST_F(CoverageOfANode, IsNothingWhereItHoldsAnotherStateByThatNumber) {
  ca::v1::Ack other = Holds(5);
  other.set_trust_digest(trust::OfferDigest(Offer(50)));
  coverage.Ack(node, other, now);
  EXPECT_EQ(Covered(), 0u);
  other.clear_trust_digest();
  coverage.Ack(node, other, now);
  EXPECT_EQ(Covered(), 0u);
  coverage.Ack(node, Holds(8), now);
  EXPECT_EQ(Covered(), 0u) << "was never offered";
  coverage.Ack(node, Holds(5), now);
  EXPECT_EQ(Covered(), 5u) << "an earlier one is what it was";
  // What is offered by a number that there was before takes its place, and ends those after it.
  trust::v1::TrustState again = Offer(5);
  again.add_revocations()->set_serial("1");
  coverage.Offers(again);
  EXPECT_EQ(Covered(), 0u);
  coverage.Ack(node, Holds(7), now);
  EXPECT_EQ(Covered(), 0u);
}

// An operator said nothing, and the CA has counted on to a number that is higher than the node's.
TEST_F(CoverageOfANode, DoesNotCountWhatAServiceShowsOfThePastBeforeTheCopy) {
  ca::v1::Ack foreign = Holds(6, {Consumer("1", 6, ca::v1::IN_FORCE)});
  foreign.set_trust_digest(trust::OfferDigest(Offer(50)));
  coverage.Ack(node, foreign, now);
  coverage.Ack(node, Holds(7), now);
  EXPECT_EQ(Covered(), 0u) << "its service hangs, at the 6 of before";
  ca::v1::Hello hello;
  hello.set_trust_epoch(7);
  hello.set_trust_digest(Holds(7).trust_digest());
  *hello.add_consumers() = Consumer("1", 6, ca::v1::IN_FORCE);
  coverage.Hello(node, hello, now);
  EXPECT_EQ(Covered(), 0u) << "on another stream as well";
  coverage.Ack(node, Holds(7, {Consumer("1", 7, ca::v1::IN_FORCE)}), now);
  EXPECT_EQ(Covered(), 7u);
}

TEST_F(CoverageOfANode, CountsServicesAgainWhereTheNodeWentBackAndHadThemCountAnew) {
  ca::v1::Ack foreign = Holds(6, {Consumer("1", 6, ca::v1::IN_FORCE)});
  foreign.set_trust_digest(trust::OfferDigest(Offer(50)));
  coverage.Ack(node, foreign, now);
  coverage.Ack(node, Holds(5, {Consumer("1", 5, ca::v1::IN_FORCE)}), now);
  EXPECT_EQ(Covered(), 5u);
}

// Of which past an epoch is that was offered before a start is not known.
TEST_F(CoverageOfANode, CountsServicesByWhatWasOfferedSinceTheStartOnly) {
  ca::Coverage started;
  started.Offers(Offer(7));
  started.Ack(node, Holds(7, {Consumer("1", 6, ca::v1::IN_FORCE)}), now);
  EXPECT_EQ(started.CoveredEpoch(node, now), 0u);
  started.Ack(node, Holds(7, {Consumer("1", 7, ca::v1::IN_FORCE)}), now);
  EXPECT_EQ(started.CoveredEpoch(node, now), 7u);
}

class GateOfANode : public ::testing::Test {
 protected:
  // Trust epochs 1 and 2 were given.
  GateOfANode() {
    ca::v1::RevokeRequest revoke;
    revoke.set_spiffe_id(Id("/somebody-else"));
    EXPECT_OK(world.Admin<ca::v1::Revoked>(revoke));
    for (uint64_t epoch = 1; epoch <= 2; ++epoch) coverage.Offers(Offer(epoch));
  }
  ca::Gate Ask(uint64_t epoch, const std::set<std::string>& except = {}) const {
    return ca::AskGate({world.core->registry(), coverage, outstanding}, epoch, world.now, except);
  }

  CoreWorld world;
  const std::string node = world.Join("a");
  const absl::Time expires =
      absl::FromUnixSeconds(world.core->registry().FindNode(node)->record.certificate_expires_at());
  ca::Coverage coverage;
  ca::Outstanding outstanding;
};

TEST_F(GateOfANode, SaysWhyItWaits) {
  EXPECT_THAT(Ask(1).missing.at(0).reason, HasSubstr("not been heard of"));
  coverage.Hello(node, ca::v1::Hello(), world.now);
  coverage.Ack(node, Holds(1), world.now);
  EXPECT_TRUE(Ask(1).complete);
  EXPECT_EQ(Ask(1).nodes, 1u);
  EXPECT_THAT(Ask(2).missing.at(0).reason, HasSubstr("holds trust epoch 1"));
  ca::v1::Ack refuses = Holds(1);
  refuses.set_refused("its signers are not known");
  coverage.Ack(node, refuses, world.now);
  EXPECT_THAT(Ask(2).missing.at(0).reason, HasSubstr("its signers are not known"));
  coverage.Ack(node, Holds(2, {Consumer("1", 1, ca::v1::IN_FORCE)}), world.now);
  EXPECT_THAT(Ask(2).missing.at(0).reason, HasSubstr(Id("/web") + " enforces trust epoch 1"));
  coverage.Gone(node);
  EXPECT_THAT(Ask(2).missing.at(0).reason, HasSubstr("is silent since"));
}

TEST_F(GateOfANode, WaitsForANodeThatRefusesWhatItWasSentOrSpeaksOfAnEpochThatWasNeverGiven) {
  const uint64_t current = world.core->registry().trust().record.epoch();
  ca::v1::Ack refuses = Holds(current);
  refuses.set_refused("its signers are not known");
  coverage.Ack(node, refuses, world.now);
  EXPECT_THAT(Ask(current).missing.at(0).reason, HasSubstr("its signers are not known"));
  coverage.Ack(node, Holds(current + 1), world.now);
  EXPECT_THAT(Ask(current).missing.at(0).reason, HasSubstr("which this CA does not know"));
  coverage.Ack(node, Holds(current), world.now);
  EXPECT_TRUE(Ask(current).complete);
}

TEST_F(GateOfANode, WaitsForANodeThatHoldsWhatThisCaDoesNotOffer) {
  ca::v1::Ack other = Holds(2);
  other.set_trust_digest("of another past");
  coverage.Ack(node, other, world.now);
  EXPECT_THAT(Ask(2).missing.at(0).reason, HasSubstr("another trust state by the number 2"));
  other = Holds(2);
  other.set_pin_set_version(3);  // by a file
  coverage.Ack(node, other, world.now);
  EXPECT_THAT(Ask(2).missing.at(0).reason, HasSubstr("linchpin pins publish"));
}

TEST_F(GateOfANode, DoesNotWaitForWhomItIsToldToExcept) {
  const ca::Gate gate = Ask(2, {node, Id("/linchpin/node/other")});
  EXPECT_TRUE(gate.complete);
  EXPECT_THAT(gate.excepted, SizeIs(1)) << "recorded, so that it is known who was left out";
  EXPECT_EQ(gate.nodes, 0u);
  coverage.Ack(node, Holds(2), world.now);
  EXPECT_THAT(Ask(2, {node}).excepted, IsEmpty());
}

TEST_F(GateOfANode, WaitsUntilAllThatWasIssuedThroughItHasExpired) {
  outstanding.Issued(node, "issuer", expires + absl::Hours(3));
  world.now = expires + absl::Hours(3);
  outstanding.ForgetExpired(world.now + kBlink);
  EXPECT_FALSE(Ask(1).complete);
  EXPECT_GT(Ask(1).missing.at(0).leaves_at, world.now) << "clocks differ a little";
  world.now = Ask(1).missing.at(0).leaves_at + kBlink;
  EXPECT_TRUE(Ask(1).complete);
  EXPECT_THAT(Ask(1).left, SizeIs(1));
  coverage.Hello(node, ca::v1::Hello(), world.now);
  EXPECT_FALSE(Ask(1).complete) << "it is back";
}

TEST_F(GateOfANode, DoesNotWaitForOneThatIsBanned) {
  EXPECT_FALSE(Ask(1).complete);
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::BanNode{node}));
  EXPECT_TRUE(Ask(1).complete);
}

TEST(Outstanding, KnowsTheLastOfEachNodeAndOfEachIssuer) {
  const absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  ca::Outstanding outstanding;
  outstanding.Issued("a", "x", now + absl::Hours(2));
  outstanding.Issued("a", "x", now + absl::Hours(1));
  outstanding.Issued("", "y", now + absl::Hours(3));
  EXPECT_EQ(outstanding.OfNode("a"), now + absl::Hours(2));
  EXPECT_EQ(outstanding.UnderIssuer("x"), now + absl::Hours(2));
  EXPECT_EQ(outstanding.UnderIssuer("y"), now + absl::Hours(3)) << "the CA's own counts as well";
  EXPECT_EQ(outstanding.OfNode(""), absl::InfinitePast());
  outstanding.ForgetExpired(now + absl::Hours(2) + absl::Minutes(5) + kBlink);
  EXPECT_EQ(outstanding.OfNode("a"), absl::InfinitePast());
  EXPECT_EQ(outstanding.UnderIssuer("y"), now + absl::Hours(3));
}

TEST(Outstanding, CountsAnOrderFromWhenItIsMade) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto identity, world.Register("/web"));
  world.hold_issues = true;
  ca::v1::Identity longer = identity;
  longer.set_ttl_seconds(48 * 3600);
  ASSERT_OK(world.Admin<ca::v1::Identity>(ca::UpdateIdentity{longer}));
  world.AskIssue(node, identity.identity_id());
  ASSERT_OK(world.Admin<ca::v1::Identity>([&] {
    ca::v1::DeleteIdentityRequest asked;
    asked.set_identity_id(identity.identity_id());
    return asked;
  }()));
  world.now += absl::Hours(48);
  const auto nodes = [&] {
    return world.Admin<ca::v1::Coverage>(ca::v1::CoverageRequest())->nodes_size();
  };
  EXPECT_EQ(nodes(), 1) << "its registration is gone, the certificate is not";
  world.now += absl::Minutes(2);
  EXPECT_EQ(nodes(), 0);
}

}  // namespace
}  // namespace linchpin::test
