// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/pin_upkeep.h"

#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"
#include "trust/freshness.h"

namespace linchpin::trust {
namespace {

using test::Ders;
using test::KeyNamed;
using test::kNow;
using test::Sign;
using test::SignersOf;
using test::StatusIs;
using test::TestAuthority;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

const std::vector<std::string> kSigners = {"alice", "bob", "carol"};
const std::vector<std::string> kTwo = {"alice", "bob"};

class PinUpkeepTest : public testing::Test {
 protected:
  PinUpkeepTest() : held_(Held(0)) {}

  // Version 3 in force, signed by two of three.
  TrustHeld Held(int64_t life) {
    TrustHeld held{.cursor = {.trust_domain = authority_.trust_domain()}};
    held.cursor.signers = *DecodeSigners(SignersOf(kSigners, 2));
    v1::PinSet set = authority_.PinSetMessage(3, kSigners, 2);
    if (life > 0) set.set_expires_at(absl::ToUnixSeconds(kNow) + life);
    v1::TrustState message = authority_.Message(5);
    *message.add_pin_sets() = Sign(set, kTwo);
    return *AcceptTrust(held, message, {.now = kNow});
  }
  v1::TrustState Next(const v1::PinSet& set, const std::vector<std::string>& signers) {
    v1::TrustState message = authority_.Message(6);
    *message.add_pin_sets() = Sign(set, signers);
    return message;
  }
  v1::SignedRelax Relaxing(uint64_t version, int64_t seconds = 3600) {
    v1::Relax relax;
    relax.set_trust_domain("example.org");
    relax.set_version(version);
    relax.set_scope(v1::Relax::ISSUER_PINS);
    relax.set_issued_at(absl::ToUnixSeconds(kNow) - 10);
    relax.set_latest(absl::ToUnixSeconds(kNow) + 86400);
    relax.set_max_seconds(seconds);
    v1::SignedRelax document;
    document.set_payload(relax.SerializeAsString());
    for (const std::string& name : kTwo) {
      *document.add_signatures() = SignRelax(document.payload(), KeyNamed(name));
    }
    return document;
  }
  struct Case {
    std::string says;
    std::function<v1::TrustState()> make;
  };
  void ExpectRefused(const std::vector<Case>& table) {
    for (const Case& one : table) {
      const auto accepted = AcceptTrust(held_, one.make(), {.now = kNow});
      ASSERT_FALSE(accepted.ok()) << one.says;
      EXPECT_THAT(std::string(accepted.status().message()), ::testing::HasSubstr(one.says));
    }
  }
  TestAuthority authority_;
  TrustHeld held_;
};

// What a CA that is not what it should be may send: each is refused whole, with a sentence.
TEST_F(PinUpkeepTest, WhatAHostileCaSendsIsRefusedWholeAndNamed) {
  const auto set = [&](uint64_t version) { return authority_.PinSetMessage(version, kSigners, 2); };
  const std::vector<Case> table = {
      {"other.org",
       [&] {
         v1::PinSet other = set(4);
         other.set_trust_domain("other.org");
         return Next(other, kTwo);
       }},
      {"signed by 1 of the previous signers", [&] { return Next(set(4), {"alice"}); }},
      {"signed by 1 of the previous signers",  // a signer that was removed before
       [&] {
         v1::PinSet named = set(4);
         *named.mutable_signers() = SignersOf({"alice", "bob", "dave"}, 2);
         return Next(named, {"alice", "dave"});
       }},
      {"signed by 0 of the previous signers",  // a set of its own
       [&] {
         v1::PinSet own = set(4);
         *own.mutable_signers() = SignersOf({"mallory"}, 1);
         return Next(own, {"mallory"});
       }},
      {"signed by 1 of the set's own signers",  // new signers that did not sign
       [&] {
         v1::PinSet changed = set(4);
         *changed.mutable_signers() = SignersOf({"alice", "dave"}, 2);
         return Next(changed, kTwo);
       }},
      {"issuer 1",
       [&] {
         v1::PinSet malformed = set(4);
         malformed.mutable_issuers(1)->mutable_spki_sha256()->pop_back();
         return Next(malformed, kTwo);
       }},
      {"the backup is missing",
       [&] {
         v1::PinSet no_backup = set(4);
         no_backup.mutable_issuers()->RemoveLast();
         return Next(no_backup, kTwo);
       }},
      {"the active is missing",
       [&] {
         v1::PinSet no_active = set(4);
         no_active.mutable_issuers()->DeleteSubrange(0, 1);
         return Next(no_active, kTwo);
       }},
  };
  ExpectRefused(table);
}

TEST_F(PinUpkeepTest, SoAreAnEpochThatGoesBackAndARootOfItsOwn) {
  ExpectRefused({
      {"trust epoch 4",
       [&] {
         v1::TrustState replay = Next(authority_.PinSetMessage(4, kSigners, 2), kTwo);
         replay.set_epoch(4);
         return replay;
       }},
      {"no anchor of",
       [&] {  // a root that no set vouches for
         v1::TrustState rogue = TestAuthority("example.org", "rogue").Message(6);
         *rogue.add_pin_sets() = held_.message.pin_sets(0);
         return rogue;
       }},
  });
}

// It costs nothing else: revocations that come with it are taken.
TEST_F(PinUpkeepTest, ARelaxThatTooFewSignedRelaxesNothingAndIsReported) {
  v1::TrustState relaxing = authority_.Message(6);
  *relaxing.add_pin_sets() = held_.message.pin_sets(0);
  *relaxing.mutable_relax() = Relaxing(3);
  relaxing.mutable_relax()->mutable_signatures()->RemoveLast();
  relaxing.add_revocations()->set_serial("\x01");
  ASSERT_OK_AND_ASSIGN(const TrustHeld next, AcceptTrust(held_, relaxing, {.now = kNow}));
  EXPECT_EQ(next.state->pins().relaxed_until(), 0);
  EXPECT_EQ(next.relaxed, Relaxed());
  EXPECT_EQ(next.state->revocations().entries().size(), 1u);
  EXPECT_THAT(next.refused, ::testing::HasSubstr("signed by 1"));
}

TEST_F(PinUpkeepTest, ASetThatWasTakenBeforeIsPassedOver) {
  ASSERT_OK_AND_ASSIGN(const TrustHeld again, AcceptTrust(held_, held_.message, {.now = kNow}));
  EXPECT_EQ(again.cursor.version, 3u);
}

TEST_F(PinUpkeepTest, AnotherSetOfTheVersionThatIsHeldIsRefused) {
  v1::PinSet other = authority_.PinSetMessage(3, kSigners, 2);
  other.set_urgent(true);
  EXPECT_THAT(AcceptTrust(held_, Next(other, kTwo), {.now = kNow}),
              StatusIs(absl::StatusCode::kFailedPrecondition, "with other contents"));
  v1::TrustState both = Next(other, kTwo);
  *both.add_pin_sets() = Sign(authority_.PinSetMessage(4, kSigners, 2), kTwo);
  EXPECT_THAT(AcceptTrust(held_, both, {.now = kNow}),
              StatusIs(absl::StatusCode::kFailedPrecondition, "with other contents"));
  // Signed by others of the same signers it is the same set.
  EXPECT_OK(AcceptTrust(held_, Next(authority_.PinSetMessage(3, kSigners, 2), {"bob", "carol"}),
                        {.now = kNow}));
}

TEST_F(PinUpkeepTest, PinsExpireOnceBothClocksSaySo) {
  const TrustHeld held = Held(100);
  const absl::Time expires = kNow + absl::Seconds(100);
  ASSERT_OK_AND_ASSIGN(std::optional<TrustHeld> at,
                       PinsAt(held, {.agreed = kNow, .latest = expires + absl::Hours(1)}));
  EXPECT_FALSE(at.has_value());
  EXPECT_EQ(UntilPinsChange(held, {.agreed = kNow, .latest = kNow}), absl::Seconds(100));
  ASSERT_OK_AND_ASSIGN(at, PinsAt(held, {.agreed = expires, .latest = expires}));
  ASSERT_TRUE(at.has_value());
  EXPECT_TRUE(at->state->pins().expired());
  EXPECT_NE(at->state->digest(), held.state->digest());
  ASSERT_OK_AND_ASSIGN(at, PinsAt(*at, {.agreed = kNow, .latest = expires}));
  ASSERT_TRUE(at.has_value());
  EXPECT_FALSE(at->state->pins().expired());
}

// A CA that repeats an old time neither puts it off nor takes it back.
TEST_F(PinUpkeepTest, WhatFailsClosedStaysSoUntilANewerSetComes) {
  v1::PinSet set = authority_.PinSetMessage(4, kSigners, 2);
  set.set_expires_at(absl::ToUnixSeconds(kNow) + 100);
  set.set_on_expiry(v1::PinSet::FAIL_CLOSED);
  const absl::Time expires = kNow + absl::Seconds(100);
  ASSERT_OK_AND_ASSIGN(const TrustHeld held, AcceptTrust(held_, Next(set, kTwo), {.now = kNow}));
  EXPECT_EQ(UntilPinsChange(held, {.agreed = kNow, .agreed_once = expires - absl::Seconds(1)}),
            absl::Seconds(1));
  ASSERT_OK_AND_ASSIGN(std::optional<TrustHeld> at,
                       PinsAt(held, {.agreed = kNow, .agreed_once = expires, .latest = expires}));
  ASSERT_TRUE(at.has_value());
  EXPECT_TRUE(at->state->pins().expired());
  const TrustHeld expired = *at;
  ASSERT_OK_AND_ASSIGN(at, PinsAt(expired, {.agreed = kNow, .agreed_once = kNow, .latest = kNow}));
  EXPECT_FALSE(at.has_value());
  ASSERT_OK_AND_ASSIGN(const TrustHeld same, AcceptTrust(expired, expired.message, {.now = kNow}));
  EXPECT_TRUE(same.state->pins().expired());
  ASSERT_OK_AND_ASSIGN(
      const TrustHeld newer,
      AcceptTrust(expired, Next(authority_.PinSetMessage(5, kSigners, 2), kTwo), {.now = kNow}));
  EXPECT_FALSE(newer.state->pins().expired());
}

TEST_F(PinUpkeepTest, ARelaxGoesOnFromWhatWasSealedAndNoneBeginsByIt) {
  v1::TrustState message = held_.message;
  *message.mutable_relax() = Relaxing(3);
  ASSERT_OK_AND_ASSIGN(const TrustHeld relaxed, AcceptTrust(held_, message, {.now = kNow}));
  const AcceptOptions at_start{.now = kNow + absl::Minutes(1), .sealed = true};
  ASSERT_OK_AND_ASSIGN(const TrustHeld goes_on, AcceptTrust(relaxed, message, at_start));
  EXPECT_EQ(goes_on.relaxed, relaxed.relaxed);
  EXPECT_EQ(goes_on.state->pins().relaxed_until(), relaxed.state->pins().relaxed_until());
  // The CA's clock said that it was too late for it; at a start only this machine's is known.
  const AcceptOptions too_late{.now = kNow, .latest = kNow + absl::Hours(48)};
  ASSERT_OK_AND_ASSIGN(const TrustHeld missed, AcceptTrust(held_, message, too_late));
  EXPECT_EQ(missed.state->pins().relaxed_until(), 0);
  ASSERT_OK_AND_ASSIGN(const TrustHeld started, AcceptTrust(missed, message, at_start));
  EXPECT_EQ(started.state->pins().relaxed_until(), 0);
  EXPECT_EQ(started.relaxed, Relaxed());
}

TEST_F(PinUpkeepTest, ARelaxEndsOnceAnyClockSaysSoAndDoesNotBeginAgain) {
  v1::TrustState message = held_.message;
  *message.mutable_relax() = Relaxing(3);
  ASSERT_OK_AND_ASSIGN(const TrustHeld relaxed, AcceptTrust(held_, message, {.now = kNow}));
  const absl::Time ends = kNow + absl::Hours(1);
  EXPECT_EQ(relaxed.state->pins().relaxed_until(), absl::ToUnixSeconds(ends));
  ASSERT_OK_AND_ASSIGN(std::optional<TrustHeld> at,
                       PinsAt(relaxed, {.agreed = kNow, .latest = ends}));
  ASSERT_TRUE(at.has_value());
  EXPECT_EQ(at->state->pins().relaxed_until(), 0);
  ASSERT_OK_AND_ASSIGN(const TrustHeld again,
                       AcceptTrust(*at, message, {.now = kNow, .latest = ends}));
  EXPECT_EQ(again.state->pins().relaxed_until(), 0);
  // A newer set ends it at once.
  ASSERT_OK_AND_ASSIGN(
      const TrustHeld next,
      AcceptTrust(relaxed, Next(authority_.PinSetMessage(4, kSigners, 2), kTwo), {.now = kNow}));
  EXPECT_EQ(next.state->pins().relaxed_until(), 0);
  EXPECT_EQ(next.relaxed, Relaxed());
}

TEST_F(PinUpkeepTest, DocumentsOfAnyCarrierFollowTheChangesOfSignersInOrder) {
  v1::PinSet fourth = authority_.PinSetMessage(4, {"dave", "erin"}, 2);
  v1::PinSet fifth = authority_.PinSetMessage(5, {"dave", "erin"}, 1);
  v1::PinDocuments documents;
  *documents.add_pin_sets() = Sign(fifth, {"dave", "erin"});
  ASSERT_OK_AND_ASSIGN(TakenDocuments taken, TakeDocuments(held_, {documents}, {}, {.now = kNow}));
  EXPECT_FALSE(taken.held.has_value());
  EXPECT_THAT(taken.faults, ElementsAre(HasSubstr("previous signers")));
  v1::PinDocuments before;
  *before.add_pin_sets() = held_.message.pin_sets(0);
  *before.add_pin_sets() = Sign(fourth, {"alice", "bob", "dave", "erin"});
  const Carriers both = {documents, before};
  ASSERT_OK_AND_ASSIGN(taken, TakeDocuments(held_, both, {}, {.now = kNow}));
  ASSERT_TRUE(taken.held.has_value());
  EXPECT_THAT(taken.faults, IsEmpty());
  EXPECT_EQ(taken.held->cursor.version, 5u);
  EXPECT_EQ(taken.held->cursor.signers.keys.size(), 2u);
  // Then the CA's own word, which knows less, takes none of it back.
  ASSERT_OK_AND_ASSIGN(const TrustHeld after,
                       AcceptTrust(*taken.held, held_.message, {.now = kNow}));
  EXPECT_EQ(after.cursor.version, 5u);
  EXPECT_THAT(after.refused, HasSubstr("withheld"));
  ASSERT_OK_AND_ASSIGN(taken, TakeDocuments(*taken.held, both, {}, {.now = kNow}));
  EXPECT_FALSE(taken.held.has_value());
}

TEST_F(PinUpkeepTest, AWrongSetHidesNoRightOneOfItsVersion) {
  v1::PinDocuments wrong, good;
  *wrong.add_pin_sets() = Sign(authority_.PinSetMessage(4, {"mallory"}, 1), {"mallory"});
  wrong.add_pin_sets()->set_payload("no set");
  *good.add_pin_sets() = Sign(authority_.PinSetMessage(4, kSigners, 2), kTwo);
  ASSERT_OK_AND_ASSIGN(const TakenDocuments taken,
                       TakeDocuments(held_, {wrong, good}, {}, {.now = kNow}));
  ASSERT_TRUE(taken.held.has_value());
  EXPECT_EQ(taken.held->cursor.version, 4u);
  EXPECT_THAT(taken.faults, Not(IsEmpty())) << "what is wrong is said";
}

TEST_F(PinUpkeepTest, OfSeveralFreshnessStatementsTheNewestIsTaken) {
  v1::PinSet set = authority_.PinSetMessage(4, kSigners, 2);
  set.set_freshness_key(KeyNamed("clerk").public_key().spki());
  const auto said = [](int64_t later, const std::string& by) {
    v1::Freshness statement;
    statement.set_trust_domain("example.org");
    statement.set_version(4);
    statement.set_issued_at(absl::ToUnixSeconds(kNow) + later);
    statement.set_expires_at(absl::ToUnixSeconds(kNow) + later + 3600);
    v1::PinDocuments documents;
    *documents.mutable_freshness() = SignFreshness(statement, KeyNamed(by));
    return documents;
  };
  v1::PinDocuments with_set;
  *with_set.add_pin_sets() = Sign(set, kTwo);
  ASSERT_OK_AND_ASSIGN(
      TakenDocuments taken,
      TakeDocuments(held_, {said(1, "clerk"), said(2, "clerk"), said(9, "mallory"), with_set}, {},
                    {.now = kNow}));
  ASSERT_TRUE(taken.held.has_value());
  EXPECT_EQ(taken.held->freshness->issued_at(), absl::ToUnixSeconds(kNow) + 2);
  EXPECT_THAT(taken.faults, ElementsAre(HasSubstr("not signed with the key")));
  // A wrong one alone is said, too.
  ASSERT_OK_AND_ASSIGN(taken, TakeDocuments(*taken.held, {said(9, "mallory")}, {}, {.now = kNow}));
  EXPECT_FALSE(taken.held.has_value());
  EXPECT_THAT(taken.faults, ElementsAre(HasSubstr("not signed with the key")));
}

TEST_F(PinUpkeepTest, ARelaxThatWasUsedOrIsOfAnotherVersionHidesNoOther) {
  const auto relaxing = [&](uint64_t version, int64_t seconds) {
    v1::PinDocuments documents;
    *documents.mutable_relax() = Relaxing(version, seconds);
    return documents;
  };
  const Carriers used = {relaxing(2, 3600), relaxing(3, 3600)};
  ASSERT_OK_AND_ASSIGN(TakenDocuments taken, TakeDocuments(held_, used, {}, {.now = kNow}));
  ASSERT_TRUE(taken.held.has_value());
  const absl::Time later = kNow + absl::Hours(2);
  ASSERT_OK_AND_ASSIGN(const auto over, PinsAt(*taken.held, {.agreed = later, .latest = later}));
  Carriers more = used;
  more.push_back(relaxing(3, 600));
  ASSERT_OK_AND_ASSIGN(taken, TakeDocuments(*over, more, {}, {.now = later}));
  ASSERT_TRUE(taken.held.has_value());
  EXPECT_EQ(taken.held->state->pins().relaxed_until(), absl::ToUnixSeconds(later) + 600);
  EXPECT_THAT(taken.faults, Contains(HasSubstr("does nothing")));
}

TEST_F(PinUpkeepTest, OfSeveralRelaxesOneRunsAtATime) {
  const auto relaxing = [&](int64_t seconds) {
    v1::PinDocuments documents;
    *documents.mutable_relax() = Relaxing(3, seconds);
    return documents;
  };
  const Carriers spares = {relaxing(600), relaxing(3600), relaxing(1200)};
  ASSERT_OK_AND_ASSIGN(TakenDocuments taken, TakeDocuments(held_, spares, {}, {.now = kNow}));
  ASSERT_TRUE(taken.held.has_value());
  const TrustHeld first = *taken.held;
  EXPECT_EQ(first.relaxed.ends_at, kNow + absl::Hours(1));
  const absl::Time during = kNow + absl::Minutes(50);
  ASSERT_OK_AND_ASSIGN(taken, TakeDocuments(first, spares, {}, {.now = during}));
  EXPECT_FALSE(taken.held.has_value()) << "although it would end later";
  EXPECT_THAT(taken.faults, Contains(HasSubstr("waits for the one that runs")));
  const absl::Time after = kNow + absl::Hours(1);
  ASSERT_OK_AND_ASSIGN(taken, TakeDocuments(first, spares, {}, {.now = after}));
  ASSERT_TRUE(taken.held.has_value());
  EXPECT_EQ(taken.held->relaxed.ends_at, after + absl::Minutes(20));
}

// Nobody plays it again: it is of the trust state that is held.
TEST_F(PinUpkeepTest, ARelaxThatTheCaPlayedWhileTheClockWasAheadIsOneMoreToBeTaken) {
  v1::TrustState message = held_.message;
  *message.mutable_relax() = Relaxing(3);
  const absl::Time ahead = kNow + absl::Hours(48);
  ASSERT_OK_AND_ASSIGN(const TrustHeld missed, AcceptTrust(held_, message, {.now = ahead}));
  EXPECT_EQ(missed.refused, "");
  EXPECT_THAT(ConcernsOf(missed, {.agreed = kNow, .latest = ahead}), SizeIs(1));
  EXPECT_THAT(ConcernsOf(missed, {.agreed = ahead, .latest = ahead}), IsEmpty());
  ASSERT_OK_AND_ASSIGN(TakenDocuments taken, TakeDocuments(missed, {}, {}, {.now = ahead}));
  EXPECT_FALSE(taken.held.has_value());
  EXPECT_THAT(taken.faults, IsEmpty());
  // Something else is taken meanwhile.
  v1::PinDocuments long_good;
  v1::Relax other;
  ASSERT_TRUE(other.ParseFromString(Relaxing(3, 600).payload()));
  other.set_latest(absl::ToUnixSeconds(ahead) + 86400);
  long_good.mutable_relax()->set_payload(other.SerializeAsString());
  for (const std::string& name : kTwo) {
    *long_good.mutable_relax()->add_signatures() =
        SignRelax(long_good.relax().payload(), KeyNamed(name));
  }
  ASSERT_OK_AND_ASSIGN(taken, TakeDocuments(missed, {long_good}, {}, {.now = ahead}));
  ASSERT_TRUE(taken.held.has_value());
  const absl::Time passed = ahead + absl::Minutes(10);
  ASSERT_OK_AND_ASSIGN(
      const auto over,
      PinsAt(*taken.held, {.agreed = kNow, .latest = kNow, .since_relax = passed}));
  ASSERT_TRUE(over.has_value());
  ASSERT_OK_AND_ASSIGN(
      taken, TakeDocuments(*over, {}, {}, {.now = kNow, .latest = kNow, .since_relax = passed}));
  ASSERT_TRUE(taken.held.has_value());
  EXPECT_EQ(taken.held->state->pins().relaxed_until(), absl::ToUnixSeconds(kNow) + 3600);
  EXPECT_THAT(taken.faults, IsEmpty());
  ASSERT_OK_AND_ASSIGN(taken, TakeDocuments(*taken.held, {}, {}, {.now = kNow}));
  EXPECT_FALSE(taken.held.has_value());
}

TEST_F(PinUpkeepTest, OfManyWrongSetsAFewAreNamed) {
  v1::PinDocuments many;
  for (uint64_t version = 4; version < 1000; ++version) {
    *many.add_pin_sets() = Sign(authority_.PinSetMessage(version, {"mallory"}, 1), {"mallory"});
  }
  ASSERT_OK_AND_ASSIGN(const TakenDocuments taken, TakeDocuments(held_, {many}, {}, {.now = kNow}));
  EXPECT_FALSE(taken.held.has_value());
  EXPECT_THAT(taken.faults, SizeIs(6));
  EXPECT_THAT(taken.faults, Contains(HasSubstr("991 more sets")));
}

// v4 names it and came by a file, or while the CA showed the root before.
TEST_F(PinUpkeepTest, ARootThatTheSetNamesIsTakenFromWhatTheCaShowsWithoutAnotherSet) {
  const TestAuthority next("example.org", "next");
  v1::PinSet both = authority_.PinSetMessage(4, kSigners, 2);
  both.add_anchors()->set_spki_sha256(next.root().pin().bytes());
  ASSERT_OK_AND_ASSIGN(const TrustHeld held, AcceptTrust(held_, Next(both, kTwo), {.now = kNow}));
  const TestAuthority stranger("example.org", "stranger");
  const auto shown = [](const TestAuthority& by) {
    return Ders(
        {by.Leaf("/linchpin/ca").certificate, by.active().certificate, by.root().certificate});
  };
  ASSERT_OK_AND_ASSIGN(TakenDocuments taken,
                       TakeDocuments(held, {}, shown(stranger), {.now = kNow}));
  EXPECT_FALSE(taken.held.has_value());
  ASSERT_OK_AND_ASSIGN(taken, TakeDocuments(held, {}, shown(next), {.now = kNow}));
  ASSERT_TRUE(taken.held.has_value());
  EXPECT_EQ(taken.held->state->anchors().size(), 2u);
  EXPECT_EQ(taken.held->state->issuers().size(), held.state->issuers().size());
  ASSERT_OK_AND_ASSIGN(taken, TakeDocuments(*taken.held, {}, shown(next), {.now = kNow}));
  EXPECT_FALSE(taken.held.has_value());
}

TEST_F(PinUpkeepTest, NobodyInstallsSignersUnderSetZeroByAnotherCarrier) {
  TrustHeld zero{.cursor = {.trust_domain = authority_.trust_domain()}};
  zero.set_zero = true;
  zero.frozen_anchors = {authority_.root().pin()};
  ASSERT_OK_AND_ASSIGN(zero, AcceptTrust(zero, authority_.Message(1), {.now = kNow}));
  v1::PinDocuments documents;
  *documents.add_pin_sets() = held_.message.pin_sets(0);
  ASSERT_OK_AND_ASSIGN(const TakenDocuments taken,
                       TakeDocuments(zero, {documents}, {}, {.now = kNow}));
  EXPECT_FALSE(taken.held.has_value());
}

TEST_F(PinUpkeepTest, AWrongFreshnessStatementIsLeftOutAndNamed) {
  v1::PinSet set = authority_.PinSetMessage(4, kSigners, 2);
  set.set_freshness_key(KeyNamed("clerk").public_key().spki());
  v1::Freshness statement;
  statement.set_trust_domain("example.org");
  statement.set_version(4);
  statement.set_issued_at(absl::ToUnixSeconds(kNow));
  statement.set_expires_at(absl::ToUnixSeconds(kNow) + 3600);
  v1::TrustState message = Next(set, kTwo);
  *message.mutable_freshness() = SignFreshness(statement, KeyNamed("mallory"));
  ASSERT_OK_AND_ASSIGN(TrustHeld next, AcceptTrust(held_, message, {.now = kNow}));
  EXPECT_FALSE(next.freshness.has_value());
  EXPECT_THAT(next.faults, ::testing::ElementsAre(::testing::HasSubstr("not signed with the key")));
  *message.mutable_freshness() = SignFreshness(statement, KeyNamed("clerk"));
  ASSERT_OK_AND_ASSIGN(next, AcceptTrust(held_, message, {.now = kNow}));
  EXPECT_TRUE(next.freshness.has_value());
  // An older one, or none, takes nothing away.
  message.clear_freshness();
  message.set_epoch(7);
  ASSERT_OK_AND_ASSIGN(next, AcceptTrust(next, message, {.now = kNow}));
  EXPECT_TRUE(next.freshness.has_value());
}

}  // namespace
}  // namespace linchpin::trust
