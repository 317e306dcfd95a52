// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/agent_core.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_harness.h"
#include "trust/freshness.h"

namespace linchpin::test {
namespace {

const std::vector<std::string> kSigners = {"alice", "bob"};
const std::vector<std::string> kWeb = {"unix:uid:1"};

// A node under signed version 1, with a service.
struct Pinned : AgentHarness {
  Pinned() {
    uptime = absl::Hours(1);
    Join();
    Register("i1", "/web", kWeb, 2);
    SayTrust(Trust(2, {Sign(Set(1), kSigners)}), 3);
    Open("c", kWeb);
  }
  trust::v1::PinSet Set(uint64_t version) const {
    return authority.PinSetMessage(version, kSigners, 2);
  }
  trust::v1::TrustState Trust(uint64_t epoch,
                              const std::vector<trust::v1::SignedPinSet>& sets) const {
    trust::v1::TrustState trust = authority.Message(epoch);
    for (const auto& set : sets) *trust.add_pin_sets() = set;
    return trust;
  }
  trust::v1::SignedRelax Relaxing(uint64_t version = 1, int64_t seconds = 3600) const {
    trust::v1::Relax relax;
    relax.set_trust_domain("example.org");
    relax.set_version(version);
    relax.set_scope(trust::v1::Relax::ISSUER_PINS);
    relax.set_issued_at(absl::ToUnixSeconds(kNow) - 10);
    relax.set_latest(absl::ToUnixSeconds(kNow) + 86400);
    relax.set_max_seconds(seconds);
    trust::v1::SignedRelax document;
    document.set_payload(relax.SerializeAsString());
    for (const std::string& name : kSigners) {
      *document.add_signatures() = trust::SignRelax(document.payload(), KeyNamed(name));
    }
    return document;
  }
  // Of this machine, and not the CA's.
  void SetClockAhead(absl::Duration by) {
    now += by + ca_clock_ahead;
    ca_clock_ahead = -by;
    Do(agent::event::TimerFired{});
  }
  void Play() {
    trust::v1::TrustState trust = Trust(3, {Sign(Set(1), kSigners)});
    *trust.mutable_relax() = Relaxing();
    SayTrust(trust, 4);
  }
  const trust::v1::EffectivePins& Pins() const { return Last("c")->trust_domains(0).pins(); }
};

TEST(AgentPins, ARelaxIsServedSaidAndOverByItself) {
  Pinned agent;
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
  agent.Play();
  const int64_t until = absl::ToUnixSeconds(agent.now) + 3600;
  EXPECT_EQ(agent.Pins().relaxed_until(), until);
  EXPECT_EQ(agent.acks.back().relaxed_until(), until);
  EXPECT_TRUE(agent.Alarmed("is relaxed until"));
  agent.Advance(absl::Minutes(61));
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
  EXPECT_EQ(agent.acks.back().relaxed_until(), 0);
}

TEST(AgentPins, AClockThatIsSetBackLengthensNoRelax) {
  Pinned agent;
  agent.Play();
  agent.Advance(absl::Minutes(30));
  agent.now -= absl::Hours(10);
  agent.Do(agent::event::TimerFired{});
  EXPECT_NE(agent.Pins().relaxed_until(), 0);
  agent.Advance(absl::Minutes(31));
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
}

// It counts on from a time to come, long after it ended.
TEST(AgentPins, AClockThatWasAheadWhenARelaxBeganShutsNoLaterOneOut) {
  Pinned agent;
  trust::v1::PinDocuments first, second;
  *first.mutable_relax() = agent.Relaxing();
  *second.mutable_relax() = agent.Relaxing(1, 1800);
  agent.SetClockAhead(absl::Hours(23));
  agent.Do(agent::event::PinFilesRead{trust::Carriers{first}});
  EXPECT_GT(agent.Pins().relaxed_until(), 0);
  agent.SetClockAhead(absl::ZeroDuration());
  EXPECT_GT(agent.Pins().relaxed_until(), 0);
  agent.Advance(absl::Minutes(61));
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
  for (const trust::PinConcern& concern : agent.core->pin_concerns()) {
    EXPECT_NE(concern.kind, "relaxed");
  }
  // One that cannot be sealed brings none of that back.
  agent.seal_status = absl::ResourceExhaustedError("the disk is full");
  agent.Do(agent::event::PinFilesRead{trust::Carriers{first, second}});
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
  agent.seal_status = absl::OkStatus();
  const int64_t until = absl::ToUnixSeconds(agent.now) + 1800;
  agent.Advance(absl::Minutes(5));
  EXPECT_EQ(agent.Pins().relaxed_until(), until);
  agent.Advance(absl::Minutes(26));
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
  agent.Restart();
  agent.Open("c", kWeb);
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
}

TEST(AgentPins, ARelaxThatIsPlayedWhileTheClockIsAheadBeginsOnceItIsSetRight) {
  for (const bool by_file : {false, true}) {
    for (const bool restarted : {false, true}) {
      Pinned agent;
      trust::v1::PinDocuments relax;
      *relax.mutable_relax() = agent.Relaxing();
      agent.SetClockAhead(absl::Hours(25));
      if (by_file) {
        agent.Do(agent::event::PinFilesRead{trust::Carriers{relax}});
      } else {
        agent.Play();
        EXPECT_EQ(agent.acks.back().refused(), "") << "a gate would wait for it for ever";
        ASSERT_GT(agent.acks.back().concerns_size(), 0);
        EXPECT_THAT(agent.acks.back().concerns(0), ::testing::HasSubstr("clock"));
        EXPECT_TRUE(agent.Alarmed("past its latest date"));
      }
      EXPECT_EQ(agent.Pins().relaxed_until(), 0);
      agent.SetClockAhead(absl::ZeroDuration());
      if (restarted) {
        agent.Restart();
        if (by_file) agent.Do(agent::event::PinFilesRead{trust::Carriers{relax}});
        agent.Open("c", kWeb);
      }
      EXPECT_EQ(agent.Pins().relaxed_until(), absl::ToUnixSeconds(agent.now) + 3600);
      EXPECT_TRUE(std::none_of(
          agent.core->pin_concerns().begin(), agent.core->pin_concerns().end(),
          [](const trust::PinConcern& concern) { return concern.kind == "relax_missed"; }));
    }
  }
}

TEST(AgentPins, ARelaxThatIsPastByBothClocksIsNoConcernAndNeverBegins) {
  Pinned agent;
  agent.Advance(absl::Hours(25));
  ASSERT_TRUE(agent.core->connected());
  agent.Play();
  EXPECT_FALSE(agent.Alarmed("past its latest date"));
  agent.now -= absl::Hours(20);
  agent.Do(agent::event::TimerFired{});
  agent.Restart();
  agent.Open("c", kWeb);
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
}

// Peers would be refused meanwhile, and their connections closed, in the whole fleet.
TEST(AgentPins, WhatExpiredAndOnlyReportsIsStrictInNoDelivery) {
  Pinned agent;
  trust::v1::PinSet set = agent.Set(2);
  set.set_expires_at(absl::ToUnixSeconds(agent.now) + 600);
  set.set_on_expiry(trust::v1::PinSet::RELAX);
  set.set_freshness_key(KeyNamed("clerk").public_key().spki());
  agent.SayTrust(agent.Trust(3, {Sign(set, kSigners)}), 4);
  agent.Advance(absl::Minutes(11));
  ASSERT_TRUE(agent.Pins().expired());
  agent.deliveries["c"].erase(agent.deliveries["c"].begin(), agent.deliveries["c"].end() - 1);
  agent.SayTrust(agent.Trust(4, {Sign(set, kSigners)}), 5);
  trust::v1::Freshness statement;
  statement.set_trust_domain("example.org");
  statement.set_version(2);
  statement.set_issued_at(absl::ToUnixSeconds(agent.now));
  statement.set_expires_at(absl::ToUnixSeconds(agent.now) + 3600);
  trust::v1::PinDocuments documents;
  *documents.mutable_freshness() = trust::SignFreshness(statement, KeyNamed("clerk"));
  agent.Do(agent::event::PinFilesRead{trust::Carriers{documents}});
  ASSERT_TRUE(agent.core->model().trust->freshness.has_value());
  ASSERT_EQ(agent.Last("c")->trust_epoch(), 4u);
  for (const auto& delivered : agent.deliveries["c"]) {
    EXPECT_TRUE(delivered->trust_domains(0).pins().expired());
  }
}

TEST(AgentPins, ARestartNeitherForgetsNorBeginsARelaxAgain) {
  Pinned agent;
  agent.Play();
  agent.Advance(absl::Minutes(30));
  agent.Restart();
  agent.Open("c", kWeb);
  EXPECT_NE(agent.Pins().relaxed_until(), 0);
  agent.now -= absl::Hours(10);
  agent.Restart();
  agent.Open("c", kWeb);
  agent.Advance(absl::Minutes(31));
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
  agent.Restart();
  agent.Open("c", kWeb);
  agent.Play();
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
}

TEST(AgentPins, ExpireOnceTheLocalClockAndTheCasAgree) {
  Pinned agent;
  trust::v1::PinSet set = agent.Set(2);
  set.set_expires_at(absl::ToUnixSeconds(agent.now) + 600);
  set.set_on_expiry(trust::v1::PinSet::FAIL_CLOSED);
  agent.SayTrust(agent.Trust(3, {Sign(set, kSigners)}), 4);
  agent.now += absl::Minutes(15);  // set ahead; nothing is due for renewal yet
  agent.Do(agent::event::TimerFired{});
  EXPECT_FALSE(agent.Pins().expired());
  EXPECT_TRUE(agent.Alarmed("expired at"));
  agent.Advance(absl::Minutes(10) + absl::Seconds(2));  // by what has passed since the CA's word
  EXPECT_TRUE(agent.Pins().expired());
}

TEST(AgentPins, ANodeThatIsShutOutLooksForNewerSetsAndFollowsThemInOrder) {
  Pinned agent;
  trust::v1::PinSet second = agent.Set(2);
  *second.mutable_signers() = SignersOf({"carol"}, 1);
  trust::v1::PinSet third = agent.Set(3);
  *third.mutable_signers() = SignersOf({"carol"}, 1);
  agent.shown_sets = {Sign(second, {"alice", "bob", "carol"}), Sign(third, {"carol"})};
  agent.refuses_streams = true;
  agent.Do(agent::event::SyncClosed{agent.stream, absl::UnavailableError("refused")});
  agent.Advance(absl::Minutes(5));
  EXPECT_EQ(agent.core->model().pin_set_version(), 3u);
  EXPECT_EQ(agent.Pins().version(), 3u);
  agent.refuses_streams = false;
  agent.Advance(absl::Minutes(5));
  EXPECT_TRUE(agent.core->connected());
}

TEST(AgentPins, ForgedSetsThatAreShownToAShutOutNodeAreRefused) {
  Pinned agent;
  trust::v1::PinSet own = agent.Set(2);
  *own.mutable_signers() = SignersOf({"mallory"}, 1);
  agent.shown_sets = {Sign(own, {"mallory"})};
  agent.refuses_streams = true;
  agent.Do(agent::event::SyncClosed{agent.stream, absl::UnavailableError("refused")});
  agent.Advance(absl::Minutes(5));
  EXPECT_EQ(agent.core->model().pin_set_version(), 1u);
  EXPECT_TRUE(agent.Alarmed("previous signers"));
}

TEST(AgentPins, SetsOfFilesAreTakenAndACaThatKnowsLessIsReported) {
  Pinned agent;
  trust::v1::PinDocuments documents;
  documents.set_trust_domain("example.org");
  *documents.add_pin_sets() = Sign(agent.Set(2), kSigners);
  agent.Do(agent::event::PinFilesRead{trust::Carriers{documents}});
  EXPECT_EQ(agent.Pins().version(), 2u);
  trust::v1::TrustState behind = agent.Trust(3, {Sign(agent.Set(1), kSigners)});
  behind.add_revocations()->set_serial("\x01");
  agent.SayTrust(behind, 4);
  EXPECT_EQ(agent.Pins().version(), 2u);
  EXPECT_EQ(agent.Last("c")->trust_domains(0).revocations_size(), 1) << "not kept out by the file";
  EXPECT_THAT(agent.acks.back().refused(), ::testing::HasSubstr("withheld"));
  EXPECT_EQ(agent.acks.back().trust_epoch(), 3u);
  // Files that lag behind, or hold what nobody signed, change nothing.
  trust::v1::PinDocuments forged;
  *forged.add_pin_sets() = Sign(agent.Set(3), {"alice"});
  agent.Do(agent::event::PinFilesRead{trust::Carriers{forged}});
  EXPECT_EQ(agent.Pins().version(), 2u);
  EXPECT_TRUE(agent.Alarmed("beside the CA's stream"));
}

TEST(AgentPins, WhatFilesHoldIsTriedAgainOnceItMayBeOfUse) {
  AgentHarness agent;
  agent.uptime = absl::Hours(1);
  const auto set = [&](uint64_t version) {
    return Sign(agent.authority.PinSetMessage(version, kSigners, 2), kSigners);
  };
  trust::v1::PinDocuments second, relax;
  *second.add_pin_sets() = set(2);
  *relax.mutable_relax() = Pinned().Relaxing(2);
  agent.Start();
  agent.Do(agent::event::PinFilesRead{trust::Carriers{second, relax}});
  agent.Join();
  EXPECT_EQ(agent.core->model().pin_set_version(), 0u) << "under set 0 files install nobody";
  agent.Do(agent::event::PinFilesRead{trust::Carriers{second, relax}});
  trust::v1::TrustState first = agent.authority.Message(2);
  *first.add_pin_sets() = set(1);
  agent.SayTrust(first, 3);
  EXPECT_EQ(agent.core->model().pin_set_version(), 2u);
  agent.Do(agent::event::TimerFired{});
  EXPECT_GT(agent.core->model().trust->state->pins().relaxed_until(), 0);
}

TEST(AgentPins, ARelaxThatCannotBeSealedIsNotServedSinceItIsHonouredOnce) {
  Pinned agent;
  agent.seal_status = absl::ResourceExhaustedError("the disk is full");
  agent.Play();
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
  EXPECT_TRUE(agent.Alarmed("cannot be sealed"));
  trust::v1::TrustState denies = agent.Trust(4, {Sign(agent.Set(1), kSigners)});
  *denies.mutable_relax() = agent.Relaxing();
  denies.add_revocations()->set_serial("\x01");
  agent.SayTrust(denies, 5);
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
  EXPECT_EQ(agent.Last("c")->trust_domains(0).revocations_size(), 1) << "all else is served";
  agent.seal_status = absl::OkStatus();
  agent.Advance(absl::Minutes(5));
  EXPECT_GT(agent.Pins().relaxed_until(), 0);
}

TEST(AgentPins, ACaThatRepeatsAnOldTimeHoldsOffNothingThatFailsClosedAndUndoesNothing) {
  Pinned agent;
  trust::v1::PinSet set = agent.Set(2);
  set.set_expires_at(absl::ToUnixSeconds(agent.now) + 600);
  set.set_on_expiry(trust::v1::PinSet::FAIL_CLOSED);
  agent.SayTrust(agent.Trust(3, {Sign(set, kSigners)}), 4);
  uint64_t revision = 4;
  for (int minute = 0; minute < 9; ++minute) {
    agent.Advance(absl::Minutes(1));
    agent.ca_clock_ahead -= absl::Minutes(1);
    agent.Say(agent.Message(++revision));
    EXPECT_FALSE(agent.Pins().expired());
  }
  agent.Advance(absl::Minutes(2));
  EXPECT_TRUE(agent.Pins().expired());
  agent.Restart();
  agent.Open("c", kWeb);
  agent.Say(agent.Message(++revision));
  EXPECT_TRUE(agent.Pins().expired());
}

TEST(AgentPins, ACaThatNamedAYearToComeShutsNoRelaxOutAndExpiresNothing) {
  Pinned agent;
  trust::v1::PinSet set = agent.Set(2);
  set.set_expires_at(absl::ToUnixSeconds(agent.now) + 30 * 86400);
  set.set_on_expiry(trust::v1::PinSet::FAIL_CLOSED);
  agent.SayTrust(agent.Trust(3, {Sign(set, kSigners)}), 4);
  agent.ca_clock_ahead = absl::Hours(24 * 365 * 70);
  agent.Say(agent.Message(5));
  agent.Restart();
  agent.Open("c", kWeb);
  EXPECT_FALSE(agent.Pins().expired());
  trust::v1::PinDocuments relax;
  *relax.mutable_relax() = agent.Relaxing(2);
  agent.Do(agent::event::PinFilesRead{trust::Carriers{relax}});
  EXPECT_EQ(agent.Pins().relaxed_until(), absl::ToUnixSeconds(agent.now) + 3600);
  // It is right again: now the local clock alone expires nothing.
  agent.ca_clock_ahead = absl::ZeroDuration();
  agent.Advance(absl::Minutes(5));
  ASSERT_TRUE(agent.core->connected());
  agent.Say(agent.Message(6));
  agent.ca_up = false;
  agent.now += absl::Hours(24 * 40);
  agent.Do(agent::event::TimerFired{});
  EXPECT_FALSE(agent.Pins().expired());
}

TEST(AgentPins, TwoClocksThatAgreedOnceAreBelievedWhateverOneOfThemSaysLater) {
  Pinned agent;
  agent.Advance(absl::Hours(20));
  agent.now -= absl::Hours(20);  // before the document's latest date, again
  agent.Advance(absl::Hours(5));
  trust::v1::PinDocuments relax;
  *relax.mutable_relax() = agent.Relaxing();
  agent.Do(agent::event::PinFilesRead{trust::Carriers{relax}});
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
}

TEST(AgentPins, RelaxesThatLieThereTogetherRunOneAfterAnother) {
  Pinned agent;
  trust::v1::PinDocuments first, second;
  *first.mutable_relax() = agent.Relaxing();
  *second.mutable_relax() = agent.Relaxing(1, 1800);
  const absl::Time began = agent.now;
  agent.Do(agent::event::PinFilesRead{trust::Carriers{first, second}});
  EXPECT_EQ(agent.Pins().relaxed_until(), absl::ToUnixSeconds(began) + 3600);
  EXPECT_TRUE(agent.Alarmed("waits for the one that runs"));
  agent.Advance(absl::Minutes(45));
  agent.Do(agent::event::PinFilesRead{trust::Carriers{first, second}});
  EXPECT_EQ(agent.Pins().relaxed_until(), absl::ToUnixSeconds(began) + 3600);
  agent.Advance(absl::Minutes(16));
  EXPECT_GT(agent.Pins().relaxed_until(), absl::ToUnixSeconds(began) + 3600);
  agent.Advance(absl::Minutes(31));
  EXPECT_EQ(agent.Pins().relaxed_until(), 0);
}

TEST(AgentPins, TheFirstSignedSetInstallsItsSignersOnceAndSaysWho) {
  Pinned agent;
  const auto said = [&] {
    return std::count_if(agent.notes.begin(), agent.notes.end(), [](const std::string& note) {
      return note.find("set 0 is over") != std::string::npos &&
             note.find(KeyNamed("alice").public_key().pin().ToString()) != std::string::npos;
    });
  };
  EXPECT_EQ(said(), 1);
  EXPECT_EQ(agent.sealed->pin_set_version(), 1u);
  agent.SayTrust(agent.Trust(3, {Sign(agent.Set(2), kSigners)}), 4);
  agent.Restart();
  EXPECT_EQ(said(), 1);
}

TEST(AgentPins, UnderSetZeroFilesInstallNobody) {
  AgentHarness agent;
  agent.Join();
  trust::v1::PinDocuments documents;
  *documents.add_pin_sets() = Sign(agent.authority.PinSetMessage(1, {"mallory"}, 1), {"mallory"});
  agent.Do(agent::event::PinFilesRead{trust::Carriers{documents}});
  EXPECT_EQ(agent.core->model().pin_set_version(), 0u);
}

TEST(AgentPins, WhatIsWrongWithThemIsSaidToTheCaAndWarnedOfWeeksBefore) {
  Pinned agent;
  trust::v1::PinSet set = agent.Set(2);
  set.set_expires_at(absl::ToUnixSeconds(agent.now + absl::Hours(24 * 31)));
  agent.SayTrust(agent.Trust(3, {Sign(set, kSigners)}), 4);
  EXPECT_FALSE(agent.Alarmed("expires in less than 30 days"));
  agent.ca_up = false;
  agent.now += absl::Hours(25);
  agent.Do(agent::event::TimerFired{});
  EXPECT_TRUE(agent.Alarmed("expires in less than 30 days"));
  agent.now += absl::Hours(24 * 16);
  agent.Do(agent::event::TimerFired{});
  EXPECT_TRUE(agent.Alarmed("expires in less than 14 days"));
  ASSERT_FALSE(agent.core->pin_concerns().empty());
  EXPECT_EQ(agent.core->pin_concerns().front().kind, "expiring");
}

}  // namespace
}  // namespace linchpin::test
