// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/agent_core.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "base/retry_after.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_harness.h"
#include "tests/support/status_matchers.h"
#include "trust/mtls_context.h"

namespace linchpin::test {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr absl::Duration kMoment = absl::Milliseconds(100);  // in which rows wait for others
const std::vector<std::string> kWeb = {"unix:uid:1", "unix:user:web"};

// Attested, with /web registered for kWeb and consumer "c" served.
struct Serving : AgentHarness {
  explicit Serving(uint64_t seed = 1) : AgentHarness(seed) {
    Join();
    Register("i1", "/web", {"unix:uid:1"}, 2);
    Open("c", kWeb);
  }
};

TEST(AgentCore, JoinsAndServesARegisteredProcess) {
  Serving agent;
  ASSERT_NE(agent.Last("c"), nullptr) << (agent.alarms.empty() ? "" : agent.alarms.back());
  EXPECT_EQ(agent.deliveries["c"].size(), 1u) << "the first message is the complete one";
  ASSERT_EQ(agent.Last("c")->identities_size(), 1);
  EXPECT_EQ(agent.Last("c")->identities(0).spiffe_id(), "spiffe://example.org/web");
  EXPECT_EQ(agent.Last("c")->trust_epoch(), 1u);
  EXPECT_THAT(agent.alarms, SizeIs(0)) << agent.alarms.front();
  EXPECT_EQ(agent.core->NotReady(agent.now), "");
}

TEST(AgentCore, SealsTheNodesKeyBeforeItRedeemsTheToken) {
  AgentHarness agent;
  agent.hold_seals = true;
  agent.Start();
  EXPECT_FALSE(agent.attest.has_value());
  agent.hold_seals = false;
  agent.Release();
  ASSERT_TRUE(agent.attest.has_value());
  EXPECT_EQ(agent.attest->key.public_key(), KeyNamed("node").public_key());
}

TEST(AgentCore, SendsNothingToACaThatDoesNotMatchThePin) {
  AgentHarness agent;
  agent.options->ca_pins = {KeyNamed("stranger").public_key().pin()};
  agent.Start();
  agent.Advance(absl::Minutes(10));
  EXPECT_FALSE(agent.attest.has_value());
  EXPECT_TRUE(agent.Alarmed(KeyNamed("stranger").public_key().pin().ToString()));
  EXPECT_TRUE(agent.Alarmed(agent.authority.root().pin().ToString()));
  EXPECT_GT(agent.CountLog("first contact"), 5u) << "tries never end";
}

TEST(AgentCore, RedeemsAgainWithTheSameKeyAfterACrash) {
  AgentHarness agent;
  agent.attest_status = absl::UnavailableError("the answer was lost");
  agent.Start();
  agent.attest.reset();
  agent.attest_status = absl::OkStatus();
  agent.Restart();
  ASSERT_TRUE(agent.attest.has_value());
  EXPECT_EQ(agent.attest->key.public_key(), KeyNamed("node").public_key());
}

TEST(AgentCore, DeliversOnlyWhatIsSealed) {
  AgentHarness agent;
  agent.Join();
  agent.Register("i1", "/web", {"unix:uid:1"}, 2);
  agent.hold_seals = true;
  agent.Open("c", kWeb);
  EXPECT_EQ(agent.Last("c"), nullptr);
  agent.hold_seals = false;
  agent.Release();
  ASSERT_NE(agent.Last("c"), nullptr);
  EXPECT_EQ(agent.Last("c")->identities_size(), 1);
}

TEST(AgentCore, AcknowledgesATrustEpochOnlyWhenItIsSealedAndInUse) {
  Serving agent;
  agent.acks.clear();
  agent.hold_seals = true;
  agent.hold_uses = true;
  trust::v1::TrustState trust = agent.authority.Message(2);
  trust.add_declared_issuers(KeyNamed("next").public_key().pin().bytes());
  agent.SayTrust(trust, 3);
  for (const auto& ack : agent.acks) EXPECT_EQ(ack.trust_epoch(), 1u);
  agent.hold_seals = false;
  agent.Release();  // sealed, and asked to be used
  for (const auto& ack : agent.acks) EXPECT_EQ(ack.trust_epoch(), 1u);
  EXPECT_EQ(agent.Last("c")->trust_epoch(), 2u) << "services need not wait for the node's own use";
  agent.hold_uses = false;
  agent.Release();
  ASSERT_FALSE(agent.acks.empty());
  EXPECT_EQ(agent.acks.back().trust_epoch(), 2u);
  EXPECT_EQ(agent.acks.back().revision(), 3u);
}

TEST(AgentCore, KeepsItsTrustWhenTheCaOffersWorse) {
  Serving agent;
  agent.SayTrust(agent.authority.Message(0), 3);
  EXPECT_EQ(agent.core->model().trust_epoch(), 1u);
  ASSERT_FALSE(agent.acks.empty());
  EXPECT_THAT(agent.acks.back().refused(), ::testing::HasSubstr("epoch 0"));
  const TestAuthority stranger("example.org", "stranger");
  agent.SayTrust(stranger.Message(7), 4);
  EXPECT_EQ(agent.core->model().trust_epoch(), 1u);
  EXPECT_EQ(agent.acks.back().trust_epoch(), 1u);
  trust::v1::TrustState good = agent.authority.Message(8);
  agent.SayTrust(good, 5);
  EXPECT_EQ(agent.core->model().trust_epoch(), 8u);
  EXPECT_EQ(agent.acks.back().refused(), "");
}

TEST(AgentCore, DrawsTheRenewalOnceAtHalfOfTheLifeWithinTenPercent) {
  std::set<absl::Time> drawn;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Serving agent(seed);
    const agent::Model& model = agent.core->model();
    const absl::Time at = model.certificates.at("i1")->renew_at;
    EXPECT_GE(at, kNow + absl::Minutes(27));
    EXPECT_LE(at, kNow + absl::Minutes(33));
    drawn.insert(at);
    agent.ca_up = false;
    agent.Restart();
    EXPECT_EQ(absl::ToUnixMillis(agent.core->model().certificates.at("i1")->renew_at),
              absl::ToUnixMillis(at))
        << "a restart does not draw again";
  }
  EXPECT_GT(drawn.size(), 30u);
}

TEST(AgentCore, RenewsAtTheInstantThatWasDrawn) {
  Serving agent;
  const absl::Time at = agent.core->model().certificates.at("i1")->renew_at;
  agent.issues.clear();
  agent.Advance(at - agent.now - absl::Seconds(1));
  EXPECT_THAT(agent.issues, SizeIs(0));
  agent.Advance(absl::Seconds(2));
  EXPECT_THAT(agent.issues, ElementsAre(ElementsAre("i1")));
  EXPECT_EQ(agent.deliveries["c"].size(), 2u);
  EXPECT_EQ(agent.deliveries["c"][0]->trust_digest(), agent.deliveries["c"][1]->trust_digest());
  EXPECT_NE(agent.deliveries["c"][0]->identities(0).private_key(),
            agent.deliveries["c"][1]->identities(0).private_key());
}

TEST(AgentCore, AFailedRenewalCostsTheCertificateNothingAndIsTriedOn) {
  Serving agent;
  agent.ca_up = false;
  agent.Do(agent::event::SyncClosed{agent.stream, absl::UnavailableError("down")});
  agent.issues.clear();
  agent.Advance(absl::Minutes(59));
  EXPECT_GT(agent.issues.size(), 100u);
  EXPECT_TRUE(agent.core->model().certificates.contains("i1"));
  EXPECT_EQ(agent.deliveries["c"].size(), 1u) << "nothing is taken from the service";
  agent.Advance(absl::Minutes(2));
  EXPECT_TRUE(agent.Alarmed("expired"));
  EXPECT_EQ(agent.deliveries["c"].size(), 1u);
  agent.ca_up = true;
  agent.Advance(absl::Seconds(12));
  EXPECT_EQ(agent.deliveries["c"].size(), 2u);
}

TEST(AgentCore, WithRenewalsOffNothingIsRenewed) {
  Serving agent;
  agent.options->renewals = false;
  agent.Restart();
  agent.issues.clear();
  agent.Advance(absl::Minutes(59));
  EXPECT_THAT(agent.issues, SizeIs(0));
}

TEST(AgentCore, ServesFromItsSealedStateBeforeItHasTheCa) {
  Serving agent;
  agent.ca_up = false;
  agent.Restart();
  agent.Open("d", kWeb);
  ASSERT_NE(agent.Last("d"), nullptr);
  EXPECT_EQ(agent.Last("d")->identities(0).spiffe_id(), "spiffe://example.org/web");
  EXPECT_EQ(agent.CountLog("attest"), 0u);
}

TEST(AgentCore, ADeletedIdentityIsToldToItsServiceAndForgotten) {
  Serving agent;
  agent.Unregister("i1", 3);
  ASSERT_EQ(agent.deliveries["c"].size(), 2u);
  EXPECT_EQ(agent.Last("c")->identities_size(), 0);
  EXPECT_EQ(agent.Last("c")->selectors_size(), 2);
  EXPECT_FALSE(agent.core->model().certificates.contains("i1"));
  EXPECT_EQ(agent.sealed->certificates_size(), 0);
  agent.issues.clear();
  agent.Advance(absl::Hours(2));
  EXPECT_THAT(agent.issues, SizeIs(0));
}

TEST(AgentCore, AServiceWhoseIdentityWasDeletedIsStillGivenTrustAndCountsUntilItsLeafExpires) {
  Serving agent;
  agent.Unregister("i1", 3);
  EXPECT_EQ(agent.Last("c")->trust_domains_size(), 1);
  EXPECT_EQ(agent.Last("c")->trust_digest(), agent.deliveries["c"][0]->trust_digest())
      << "its rules and its trust are what they were";
  trust::v1::TrustState trust = agent.authority.Message(2);
  trust.add_declared_issuers(KeyNamed("next").public_key().pin().bytes());
  agent.SayTrust(trust, 4);
  ASSERT_EQ(agent.deliveries["c"].size(), 3u);
  EXPECT_EQ(agent.Last("c")->identities_size(), 0);
  ASSERT_EQ(agent.Last("c")->trust_domains_size(), 1);
  EXPECT_EQ(agent.Last("c")->trust_domains(0).epoch(), 2u);
  EXPECT_NE(agent.Last("c")->trust_digest(), agent.deliveries["c"][0]->trust_digest());
  agent::v1::ReportRequest report;
  report.set_consumer_id("c");
  report.set_trust_epoch(2);
  report.set_trust_digest(agent.Last("c")->trust_digest());
  agent.Do(agent::event::ConsumerReported{report});
  EXPECT_THAT(agent.alarms, SizeIs(0)) << agent.alarms.front();
  agent.Advance(kMoment);
  ASSERT_EQ(agent.acks.back().consumers_size(), 1);
  EXPECT_EQ(agent.acks.back().consumers(0).trust_epoch(), 2u);
  EXPECT_EQ(agent.acks.back().consumers(0).evidence(), ca::v1::IN_FORCE);
  agent.acks.clear();
  agent.Advance(absl::Hours(2));
  ASSERT_FALSE(agent.acks.empty());
  EXPECT_EQ(agent.acks.front().gone_size(), 1) << "its leaf has expired";
}

TEST(AgentCore, AServiceWhoseLeafExpiredIsStillGivenNewerTrust) {
  Serving agent;
  agent.issue_status = absl::UnavailableError("no quorum");
  agent.Advance(absl::Hours(2));
  EXPECT_EQ(agent.deliveries["c"].size(), 1u) << "that nothing follows is no news";
  trust::v1::TrustState trust = agent.authority.Message(2);
  agent.SayTrust(trust, 4);
  ASSERT_EQ(agent.deliveries["c"].size(), 2u);
  EXPECT_EQ(agent.Last("c")->identities_size(), 0);
  ASSERT_EQ(agent.Last("c")->trust_domains_size(), 1);
  EXPECT_EQ(agent.Last("c")->trust_domains(0).epoch(), 2u);
}

TEST(AgentCore, WaitsAsLongAsABusyCaSays) {
  Serving agent;
  agent.issue_status =
      base::WithRetryAfter(absl::ResourceExhaustedError("full"), absl::Seconds(40));
  const size_t before = agent.issues.size();
  agent.Advance(absl::Minutes(40));  // the renewal was due after 27 to 33
  EXPECT_GE(agent.issues.size() - before, 10u);
  EXPECT_LE(agent.issues.size() - before, 21u);
  agent.issue_status = absl::OkStatus();
  agent.Advance(absl::Seconds(41));
  EXPECT_EQ(agent.deliveries["c"].size(), 2u);
}

TEST(AgentCore, NoCaPutsARenewalOffForLong) {
  Serving agent;
  agent.issue_status = base::WithRetryAfter(absl::ResourceExhaustedError("full"), absl::Hours(24));
  agent.Advance(absl::Minutes(40));
  agent.issue_status = absl::OkStatus();
  agent.Advance(absl::Seconds(61));
  EXPECT_EQ(agent.deliveries["c"].size(), 2u);
}

TEST(AgentCore, AProcessThatNeverHadAnIdentityIsGivenNoTrust) {
  Serving agent;
  agent.Open("d", {"unix:uid:2"});
  ASSERT_NE(agent.Last("d"), nullptr);
  EXPECT_EQ(agent.Last("d")->trust_domains_size(), 0);
}

TEST(AgentCore, ServesFromMemoryButAcknowledgesNothingWhenItCannotSeal) {
  Serving agent;
  agent.acks.clear();
  agent.seal_status = absl::ResourceExhaustedError("disk full");
  agent.SayTrust(agent.authority.Message(2), 3);
  EXPECT_EQ(agent.Last("c")->trust_epoch(), 2u);
  for (const auto& ack : agent.acks) EXPECT_EQ(ack.trust_epoch(), 1u);
  EXPECT_TRUE(agent.Alarmed("disk full"));
  EXPECT_EQ(agent.sealed->trust().epoch(), 1u);
  agent.seal_status = absl::OkStatus();
  agent.Advance(absl::Seconds(40));
  EXPECT_EQ(agent.sealed->trust().epoch(), 2u);
  ASSERT_FALSE(agent.acks.empty());
  EXPECT_EQ(agent.acks.back().trust_epoch(), 2u);
}

TEST(AgentCore, NamesBothTimesWhenTheClocksDiffer) {
  for (const absl::Duration off : {absl::Hours(1), -absl::Hours(3)}) {
    Serving agent;
    agent.ca_clock_ahead = off;
    agent.Say(agent.Message(2));
    agent.Advance(absl::Minutes(34));
    const auto text = [](absl::Time time) {
      return absl::FormatTime("%Y-%m-%dT%H:%M", time, absl::UTCTimeZone());
    };
    EXPECT_TRUE(agent.Alarmed(text(kNow)) && agent.Alarmed(text(kNow + off)));
    EXPECT_TRUE(agent.Alarmed("is not renewed"));
    EXPECT_TRUE(agent.core->model().certificates.contains("i1")) << "the last good one stays";
  }
}

TEST(AgentCore, AProcessWithoutIdentityIsToldItsSelectorsAndWaits) {
  AgentHarness agent;
  agent.Join();
  agent.Open("c", kWeb);
  ASSERT_NE(agent.Last("c"), nullptr);
  EXPECT_EQ(agent.Last("c")->identities_size(), 0);
  EXPECT_EQ(agent.Last("c")->selectors_size(), 2);
  agent.Register("i1", "/web", {"unix:uid:1"}, 2);
  EXPECT_EQ(agent.Last("c")->identities_size(), 1);
}

TEST(AgentCore, IdentitiesComeInRegistrationOrderAndOnlyToThoseWhoMatchAllSelectors) {
  AgentHarness agent;
  agent.Join();
  agent.Register("b", "/second", {"unix:user:web"}, 3);
  agent.Register("c", "/third", {"unix:uid:1", "unix:path:/bin/web"}, 4);
  agent.Register("a", "/fourth", {"unix:uid:1"}, 5);
  agent.Register("z", "/nobody", {}, 6);
  agent.Open("c", kWeb);
  ASSERT_EQ(agent.Last("c")->identities_size(), 2);
  EXPECT_EQ(agent.Last("c")->identities(0).spiffe_id(), "spiffe://example.org/second");
  EXPECT_EQ(agent.Last("c")->identities(1).spiffe_id(), "spiffe://example.org/fourth");
}

TEST(AgentCore, ReportsWhatEachConsumerEnforces) {
  Serving agent;
  ASSERT_FALSE(agent.acks.empty());
  ASSERT_EQ(agent.acks.back().consumers_size(), 1);
  EXPECT_EQ(agent.acks.back().consumers(0).evidence(), ca::v1::NONE);
  agent::v1::ReportRequest report;
  report.set_consumer_id("c");
  report.set_trust_epoch(1);
  report.set_trust_digest("another digest");
  agent.Do(agent::event::ConsumerReported{report});
  EXPECT_EQ(agent.acks.back().consumers(0).evidence(), ca::v1::NONE);
  report.set_trust_digest(agent.Last("c")->trust_digest());
  agent.Do(agent::event::ConsumerReported{report});
  agent.Advance(kMoment);
  ASSERT_EQ(agent.acks.back().consumers_size(), 1);
  EXPECT_EQ(agent.acks.back().consumers(0).evidence(), ca::v1::IN_FORCE);
  EXPECT_EQ(agent.acks.back().consumers(0).trust_epoch(), 1u);
  agent.Do(agent::event::ConsumerClosed{"c"});
  EXPECT_EQ(agent.acks.back().gone_size(), 0) << "the process still enforces it";
  agent.Do(agent::event::ProcessExited{"process of c"});
  agent.Advance(kMoment);
  EXPECT_EQ(agent.acks.back().gone_size(), 1);
}

TEST(AgentCore, ReportsTheRulesThatAConsumerEnforcesByTheDigestOfTheRulesAlone) {
  Serving agent;
  const trust::SpiffeId web = *trust::SpiffeId::Parse("spiffe://example.org/web");
  ca::v1::CaMessage message = agent.Message(3);
  trust::v1::PeerRule& rule = *message.add_rules();
  rule.set_from(web.ToString());
  rule.set_to("spiffe://example.org/db");
  rule.set_outbound(true);
  agent.Say(message);
  agent::v1::ReportRequest report;
  report.set_consumer_id("c");
  report.set_trust_epoch(1);
  report.set_trust_digest(agent.Last("c")->trust_digest());
  agent.Do(agent::event::ConsumerReported{report});
  agent.Advance(kMoment);
  ASSERT_EQ(agent.acks.back().consumers_size(), 1);
  EXPECT_EQ(agent.acks.back().consumers(0).trust_digest(),
            trust::TrustDigest({}, {{web, *trust::PeerPolicy::ForIdentity(web, {rule})}}));
}

TEST(AgentCore, ServicesThatComeAndGoInHasteAreToldOfTogether) {
  Serving agent;
  agent.Advance(kMoment);
  const size_t acks = agent.acks.size();
  for (int i = 0; i < 1000; ++i) {
    const std::string id = absl::StrCat("hasty ", i);
    agent.Open(id, kWeb);
    agent.Do(agent::event::ConsumerClosed{id});
    agent.Do(agent::event::ProcessExited{"process of " + id});
  }
  agent.Open("stays", kWeb);
  EXPECT_LE(agent.acks.size(), acks + 1);
  agent.Advance(kMoment);
  ASSERT_LE(agent.acks.size(), acks + 2);
  ASSERT_EQ(agent.acks.back().consumers_size(), 1);
  EXPECT_EQ(agent.acks.back().consumers(0).consumer_id(), "process of stays/i1");
}

TEST(AgentCore, WhatTheNodeHoldsIsNotSaidBeforeTheServicesThatWereServedUntilThen) {
  Serving agent;
  agent.acks.clear();
  std::set<std::string> told;
  for (int i = 0; i < 600; ++i) agent.Open(absl::StrCat("c", i), kWeb);
  agent.SayTrust(agent.authority.Message(2), 3);
  ASSERT_FALSE(agent.acks.empty());
  for (const ca::v1::Ack& ack : agent.acks) {
    for (const ca::v1::Consumer& row : ack.consumers()) told.insert(row.consumer_id());
    EXPECT_TRUE(ack.trust_epoch() == 1 || told.size() == 600u) << told.size();
  }
  EXPECT_EQ(agent.acks.back().trust_epoch(), 2u);
}

TEST(AgentCore, SaysWhatItHoldsOnlyWithTheLastOfItsServicesWhereTheyHaveNoRoomInTheHello) {
  AgentHarness agent;
  agent.Join();
  agent.Register("i1", "/web", kWeb, 2);
  for (int i = 0; i < 300; ++i) agent.Open(absl::StrCat("c", i), kWeb);
  agent.acks.clear();
  agent.Do(agent::event::SyncClosed{agent.stream, absl::UnavailableError("down")});
  agent.Advance(absl::Minutes(1));
  const ca::v1::Hello& hello = agent.hellos.back();
  EXPECT_EQ(hello.consumers_size(), 256);
  EXPECT_EQ(hello.trust_epoch(), 0u) << "44 services are not named yet";
  int named = hello.consumers_size();
  for (const ca::v1::Ack& ack : agent.acks) {
    named += ack.consumers_size();
    EXPECT_EQ(ack.trust_epoch() > 0, named == 300);
  }
  EXPECT_EQ(named, 300);
}

TEST(AgentCore, SaysWhyThereIsNoIdentityYet) {
  AgentHarness agent;
  agent.ca_up = false;
  agent.Start();
  agent.Open("early", {"unix:uid:1000"});
  EXPECT_EQ(agent.Last("early")->unavailable(), "the agent has not joined its CA yet");
  agent.ca_up = true;
  agent.Advance(absl::Minutes(1));
  agent.Say(agent.Message(1));
  EXPECT_EQ(agent.Last("early")->unavailable(), "") << "nothing is registered for it";

  agent.issue_status = absl::UnavailableError("busy");
  agent.Register("i1", "/web", {"unix:uid:1000"}, 2);
  agent.Open("late", {"unix:uid:1000"});
  EXPECT_THAT(agent.Last("late")->unavailable(),
              ::testing::HasSubstr("spiffe://example.org/web could not be had"));
  agent.issue_status = absl::OkStatus();
  agent.Advance(absl::Minutes(1));
  EXPECT_EQ(agent.Last("late")->identities_size(), 1);
  EXPECT_EQ(agent.Last("late")->unavailable(), "");

  agent.ca_up = false;
  agent.issue_status = absl::UnavailableError("gone");
  agent.Advance(absl::Hours(2));
  agent.Open("too late", {"unix:uid:1000"});
  EXPECT_THAT(agent.Last("too late")->unavailable(), ::testing::HasSubstr("has expired"));
}

TEST(AgentCore, AConsumerForWhomThereIsNoRoomIsToldSo) {
  Serving agent;
  for (size_t i = 1; i < agent::ConsumerTable::kMaxConsumers; ++i) {
    agent.Open(absl::StrCat("c", i), {});
  }
  EXPECT_TRUE(agent.ended.empty());
  agent.Open("one too many", kWeb);
  EXPECT_THAT(agent.ended["one too many"], StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(agent.Last("one too many"), nullptr);
}

TEST(AgentCore, TheClassOfEvidenceIsTheOneOfTheStreamsApi) {
  AgentHarness agent;
  agent.Join();
  agent.Register("i1", "/web", {"unix:uid:1000"}, 2);
  agent.acks.clear();
  agent.Open("delivered", {"unix:uid:1000"}, ca::v1::DELIVERED);
  ASSERT_FALSE(agent.acks.empty());
  ASSERT_EQ(agent.acks.back().consumers_size(), 1);
  EXPECT_EQ(agent.acks.back().consumers(0).evidence(), ca::v1::DELIVERED);
  EXPECT_EQ(agent.acks.back().consumers(0).trust_epoch(), 1u);

  agent.Open("accepted", {"unix:uid:1000"}, ca::v1::ACCEPTED);
  agent.Advance(kMoment);
  ASSERT_EQ(agent.acks.back().consumers_size(), 1);
  EXPECT_EQ(agent.acks.back().consumers(0).evidence(), ca::v1::NONE);
  agent::v1::ReportRequest report;
  report.set_consumer_id("accepted");
  report.set_trust_epoch(1);
  report.set_trust_digest(agent.Last("accepted")->trust_digest());
  agent.Do(agent::event::ConsumerReported{report});
  agent.Advance(kMoment);
  ASSERT_EQ(agent.acks.back().consumers_size(), 1);
  EXPECT_EQ(agent.acks.back().consumers(0).evidence(), ca::v1::ACCEPTED);
}

TEST(AgentCore, RenewsItsOwnCertificateAndComesBackWithIt) {
  Serving agent;
  agent.log.clear();
  agent.Advance(absl::Minutes(34));
  EXPECT_EQ(agent.CountLog("renew node"), 1u);
  EXPECT_EQ(agent.CountLog("close"), 1u);
  EXPECT_EQ(agent.CountLog("open"), 1u);
}

TEST(AgentCore, BeginsNoStreamBeforeTheTimeThatTheCaSaid) {
  Serving agent;
  agent.hellos.clear();
  const absl::Status full = absl::ResourceExhaustedError("too often");
  agent.Do(agent::event::SyncClosed{agent.stream, base::WithRetryAfter(full, absl::Seconds(40))});
  agent.Advance(absl::Seconds(39));
  EXPECT_THAT(agent.hellos, SizeIs(0));
  agent.Advance(absl::Seconds(2));
  EXPECT_THAT(agent.hellos, SizeIs(1));
  EXPECT_TRUE(agent.core->connected());
}

TEST(AgentCore, AnExpiredNodeAttestsAgainWithItsOldCertificate) {
  Serving agent;
  const std::string old = *agent.core->model().node->chain[0];
  agent.ca_up = false;
  agent.Do(agent::event::SyncClosed{agent.stream, absl::UnavailableError("down")});
  agent.Advance(absl::Hours(3));
  agent.attest.reset();
  agent.ca_up = true;
  agent.Advance(absl::Seconds(40));
  ASSERT_TRUE(agent.attest.has_value());
  EXPECT_EQ(agent.attest->expired_certificate, old);
  EXPECT_TRUE(agent.core->connected());
  EXPECT_LT(agent.CountLog("first contact"), 400u) << "in three hours without the CA";
}

TEST(AgentCore, AnExpiredNodeThatIsRefusedTriesATokenInTurn) {
  Serving agent;
  agent.ca_up = false;
  agent.Do(agent::event::SyncClosed{agent.stream, absl::UnavailableError("down")});
  agent.Advance(absl::Hours(2));
  agent.ca_up = true;
  agent.attest_status = absl::PermissionDeniedError("the grace is over");
  std::set<bool> by_certificate;
  for (int i = 0; i < 120; ++i) {
    agent.Advance(absl::Seconds(1));
    if (agent.attest.has_value()) by_certificate.insert(!agent.attest->expired_certificate.empty());
  }
  EXPECT_EQ(by_certificate.size(), 2u);
  EXPECT_TRUE(agent.Alarmed("the grace is over"));
}

TEST(AgentCore, FirstContactWithAClockFarOffNamesBothTimes) {
  AgentHarness agent;
  agent.ca_clock_ahead = absl::Hours(1);
  agent.Start();
  EXPECT_FALSE(agent.attest.has_value());
  const auto text = [](absl::Time time) {
    return absl::FormatTime("%Y-%m-%dT%H:%M", time, absl::UTCTimeZone());
  };
  EXPECT_TRUE(agent.Alarmed(text(kNow)));
  EXPECT_TRUE(agent.Alarmed(text(kNow + absl::Hours(1) - agent.backdate)));
}

TEST(AgentCore, AsksForASnapshotAfterAMessageThatItCannotApply) {
  Serving agent;
  agent.hellos.clear();
  ca::v1::CaMessage bad = agent.Message(3);
  bad.add_identities()->set_identity_id("x");
  agent.Say(bad);
  agent.Advance(absl::Seconds(6));
  ASSERT_EQ(agent.hellos.size(), 1u);
  EXPECT_EQ(agent.hellos[0].incarnation(), "");
  EXPECT_EQ(agent.hellos[0].trust_epoch(), 1u);
}

TEST(AgentCore, ComesBackWhenALeavingCaSaysSo) {
  Serving agent;
  agent.hellos.clear();
  ca::v1::CaMessage message;
  message.mutable_goodbye()->set_reconnect_after_ms(3000);
  agent.Say(message);
  agent.Advance(absl::Milliseconds(2900));
  EXPECT_THAT(agent.hellos, SizeIs(0));
  agent.Advance(absl::Milliseconds(200));
  ASSERT_THAT(agent.hellos, SizeIs(1));
  EXPECT_EQ(agent.hellos[0].projection_digest(), agent.core->model().projection->Digest());
}

TEST(AgentCore, AStateOfAnotherTrustDomainOrANewerFormatIsRefusedByName) {
  Serving agent;
  state::v1::AgentState state = *agent.sealed;
  const trust::TrustDomain other = *trust::TrustDomain::FromName("other.org");
  EXPECT_THAT(agent::DecodeState(state, other, kNow, absl::Seconds(60)),
              StatusIs(absl::StatusCode::kFailedPrecondition, "example.org"));
  state.set_format(99);
  EXPECT_THAT(agent::DecodeState(state, agent.authority.trust_domain(), kNow, absl::Seconds(60)),
              StatusIs(absl::StatusCode::kFailedPrecondition, "format 99"));
}

}  // namespace
}  // namespace linchpin::test
