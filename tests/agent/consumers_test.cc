// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/consumers.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace linchpin::test {
namespace {

using agent::ConsumerTable;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const absl::Time kExpiry = absl::FromUnixSeconds(2'000'000'000);

// Streams of one process, "p", that serve the identity "i1".
struct Table : ConsumerTable {
  void Serve(const std::string& id, uint64_t epoch, ca::v1::Evidence evidence = ca::v1::ACCEPTED,
             const std::string& carries = "") {
    ASSERT_TRUE(Open({id, "p", {"unix:uid:1"}, ca::v1::NONE}).ok());
    Holds({id, evidence, carries});
    Say(id, epoch);
  }
  void Say(const std::string& id, uint64_t epoch) {
    Deliver(id, {.epoch = epoch, .trust_digest = "d", .contents = "", .has_identities = true},
            {{"i1", "spiffe://example.org/web"}}, kExpiry);
    agent::v1::ReportRequest report;
    report.set_consumer_id(id);
    report.set_trust_epoch(epoch);
    report.set_trust_digest("d");
    Reported(report);
  }
  // Of the one row that there must be.
  uint64_t epoch() const {
    const Rows rows = RowsOf("p");
    EXPECT_THAT(rows, SizeIs(1));
    return rows.empty() ? 0 : rows.begin()->second.trust_epoch();
  }
};

TEST(Consumers, AProcessShowsTheLeastThatAnyOfItsStreamsShows) {
  Table table;
  table.Serve("a", 5, ca::v1::IN_FORCE);
  table.Serve("b", 6, ca::v1::ACCEPTED);
  EXPECT_EQ(table.epoch(), 5u);
  EXPECT_EQ(table.RowsOf("p").at("p/i1").evidence(), ca::v1::ACCEPTED);
  table.Say("a", 7);
  EXPECT_EQ(table.epoch(), 6u);
  ASSERT_TRUE(table.Open({"c", "p", {"unix:uid:1"}, ca::v1::IN_FORCE}).ok());
  table.Deliver("c", {.epoch = 7, .trust_digest = "d", .contents = "", .has_identities = true},
                {{"i1", "spiffe://example.org/web"}}, kExpiry);
  EXPECT_EQ(table.RowsOf("p").at("p/i1").evidence(), ca::v1::NONE) << "c has not said anything";
}

TEST(Consumers, ShowNothingOfEpochsThatCountAnewUntilTheyEnforceOneOfThem) {
  Table table;
  table.Serve("a", 5, ca::v1::IN_FORCE);
  table.CountAnew();
  EXPECT_EQ(table.epoch(), 0u);
  EXPECT_EQ(table.all().at("a").delivered->epoch, 0u) << "so that it is told anew";
  agent::v1::ReportRequest late;
  late.set_consumer_id("a");
  late.set_trust_epoch(5);
  late.set_trust_digest("d");
  EXPECT_TRUE(table.Check(late).ok()) << "it was delivered";
  table.Reported(late);
  EXPECT_EQ(table.epoch(), 0u);
  table.Say("a", 3);
  EXPECT_EQ(table.epoch(), 3u);
  table.Say("a", 5);
  EXPECT_EQ(table.epoch(), 5u);
}

TEST(Consumers, WhatIsDeliveredChangesNoRowBeforeTheServiceSaysIt) {
  Table table;
  table.Serve("a", 5, ca::v1::IN_FORCE);
  const std::string before = table.RowsOf("p").at("p/i1").SerializeAsString();
  table.Deliver("a", {.epoch = 6, .trust_digest = "other", .contents = "", .has_identities = true},
                {{"i1", "spiffe://example.org/web"}}, kExpiry);
  EXPECT_EQ(table.RowsOf("p").at("p/i1").SerializeAsString(), before)
      << "the row that says it would have to wait for its turn behind this one";
  table.Say("a", 6);
  EXPECT_NE(table.RowsOf("p").at("p/i1").SerializeAsString(), before);
}

// What the row says of the rules, of streams which are told rules and say that they enforce them.
struct Rules : Table {
  void Tell(const std::string& id, const std::string& rules) {
    Deliver(id, {5, rules, rules, "", true, ""}, {{"i1", "spiffe://example.org/web"}}, kExpiry);
  }
  void Enforce(const std::string& id, const std::string& rules) {
    agent::v1::ReportRequest report;
    report.set_consumer_id(id);
    report.set_trust_epoch(5);
    report.set_trust_digest(rules);
    Reported(report);
  }
  void Begin(const std::string& id, const std::string& rules) {
    ASSERT_TRUE(Open({id, "p", {"unix:uid:1"}, ca::v1::IN_FORCE}).ok());
    Tell(id, rules);
    Enforce(id, rules);
  }
  std::string rules() const { return RowsOf("p").at("p/i1").trust_digest(); }
};

TEST(Consumers, AProcessEnforcesNewRulesWhenEachOfItsStreamsDoes) {
  for (const bool first : {true, false}) {
    Rules table;
    table.Begin("a", "old");
    table.Begin("b", "old");
    table.Tell("a", "new");
    table.Tell("b", "new");
    EXPECT_EQ(table.rules(), "old");
    table.Enforce(first ? "a" : "b", "new");
    EXPECT_EQ(table.rules(), "old") << "the other one has not said it";
    table.Enforce(first ? "b" : "a", "new");
    EXPECT_EQ(table.rules(), "new");
  }
}

TEST(Consumers, OfStreamsThatEndedItIsSaidWhichRulesTheyEnforceOnlyWhereAllEnforceTheSame) {
  Rules table;
  table.Begin("a", "old");
  table.Begin("b", "new");
  table.Begin("c", "new");
  table.Close("a");
  EXPECT_EQ(table.rules(), "old") << "it is told nothing any more";
  table.Close("b");
  table.Close("c");
  EXPECT_EQ(table.rules(), "");
}

TEST(Consumers, OneStreamThatComesBackSpeaksForNoOther) {
  Table table;
  table.Serve("a", 5);
  table.Serve("b", 5);
  table.Close("a");
  table.Close("b");
  table.Serve("b again", 6);
  table.Say("b again", 7);
  EXPECT_EQ(table.epoch(), 5u) << "what a was given is still enforced";
  table.Serve("a again", 7);
  EXPECT_EQ(table.epoch(), 7u);
}

TEST(Consumers, OfSeveralThatEndedTheNewestIsTakenAsTheOneThatCameBack) {
  Table table;
  table.Serve("old", 5);
  table.Serve("new", 6);
  table.Close("old");
  table.Close("new");
  table.Serve("again", 7);
  EXPECT_EQ(table.epoch(), 5u);
}

TEST(Consumers, AStreamTakesThePlaceOnlyOfOneThatCarriedTheSame) {
  Table table;
  table.Serve("in", 5, ca::v1::ACCEPTED, "peers:inbound");
  table.Close("in");
  table.Serve("out", 6, ca::v1::ACCEPTED, "peers:outbound");
  table.Serve("certificate", 6, ca::v1::NONE);
  table.Serve("another api", 6, ca::v1::IN_FORCE, "peers:inbound");
  EXPECT_EQ(table.epoch(), 5u);
  table.Serve("in again", 6, ca::v1::ACCEPTED, "peers:inbound");
  EXPECT_EQ(table.epoch(), 6u);
}

TEST(Consumers, AStreamThatHoldsNoTrustHasNoRowAndStandsInForNobodyWhoHadIt) {
  Table table;
  table.Serve("trust", 1);
  table.Close("trust");
  table.Serve("certificate", 2, ca::v1::NONE);
  EXPECT_EQ(table.epoch(), 1u) << "its process goes on with it";
  table.Exited("p");
  table.Serve("certificate", 2, ca::v1::NONE);
  EXPECT_THAT(table.RowsOf("p"), IsEmpty());
  table.Close("certificate");
  EXPECT_THAT(table.all(), IsEmpty());
}

TEST(Consumers, AStreamThatBeginsToHoldTrustIsWaitedForAndOneThatLetsGoIsNot) {
  Table table;
  ASSERT_TRUE(table.Open({"s", "p", {"unix:uid:1"}, ca::v1::NONE}).ok());
  table.Deliver("s", {.epoch = 1, .trust_digest = "d", .contents = "", .has_identities = true},
                {{"i1", "spiffe://example.org/web"}}, kExpiry);
  table.TakeTouched();
  table.Holds({"s", ca::v1::ACCEPTED, ""});
  EXPECT_THAT(table.TakeTouched(), ElementsAre("p"));
  EXPECT_EQ(table.RowsOf("p").at("p/i1").evidence(), ca::v1::NONE);
  table.Say("s", 1);
  EXPECT_EQ(table.RowsOf("p").at("p/i1").evidence(), ca::v1::ACCEPTED);
  table.Holds({"s", ca::v1::NONE, ""});
  EXPECT_THAT(table.RowsOf("p"), IsEmpty());
}

TEST(Consumers, AfterARestartNobodyWhoComesBackSpeaksForAllWhoWereServed) {
  Table table;
  const absl::Time settled = kExpiry - absl::Hours(1);
  table.Restarted({{"i1", {"spiffe://example.org/web", kExpiry}}}, settled);
  const std::string missing = *table.TakeTouched().begin();
  table.Serve("first", 1);
  EXPECT_EQ(table.NextSettling(), settled);
  table.ForgetExpired(settled - absl::Seconds(1), settled);
  EXPECT_THAT(table.RowsOf(missing), SizeIs(1));
  table.ForgetExpired(settled, settled);
  EXPECT_THAT(table.RowsOf(missing), IsEmpty());
  EXPECT_EQ(table.epoch(), 1u);
}

TEST(Consumers, WhoWasServedBeforeARestartCountsNoLongerThanItsLeaf) {
  Table table;
  table.Restarted({{"i1", {"spiffe://example.org/web", kExpiry}}}, kExpiry + absl::Seconds(1));
  const std::string missing = *table.TakeTouched().begin();
  EXPECT_EQ(table.NextExpiry(), kExpiry);
  table.ForgetExpired(kExpiry, kExpiry);
  EXPECT_THAT(table.RowsOf(missing), IsEmpty());
}

TEST(Consumers, WhatReadsFilesIsWaitedForWhenTheirWriterExitsUntilAnotherHasSeenThemRead) {
  Table table;
  table.Serve("writer", 5, ca::v1::RELOADED);
  table.Exited("p");
  EXPECT_THAT(table.RowsOf("p"), IsEmpty());
  const ConsumerTable::Rows readers = table.RowsOf("<files i1>");
  ASSERT_THAT(readers, SizeIs(1));
  EXPECT_EQ(readers.begin()->second.trust_epoch(), 5u);
  ASSERT_TRUE(table.Open({"again", "q", {"unix:uid:1"}, ca::v1::RELOADED}).ok());
  table.Deliver("again", {.epoch = 6, .trust_digest = "d", .contents = "", .has_identities = true},
                {{"i1", "spiffe://example.org/web"}}, kExpiry);
  EXPECT_THAT(table.RowsOf("<files i1>"), SizeIs(1)) << "its command has not succeeded";
  table.Say("again", 6);
  EXPECT_THAT(table.RowsOf("<files i1>"), IsEmpty());
  table.Exited("q");
  EXPECT_THAT(table.RowsOf("<files i1>"), SizeIs(1));
  table.ForgetExpired(kExpiry, kExpiry - absl::Seconds(1));
  EXPECT_THAT(table.all(), Not(IsEmpty())) << "only this clock says so";
  table.ForgetExpired(kExpiry, kExpiry);
  EXPECT_THAT(table.all(), IsEmpty());
}

TEST(Consumers, AProcessThatOpensStreamAfterStreamIsBoundedAndItsOldestTrustIsNotForgotten) {
  Table table;
  for (uint64_t i = 1; i <= 1000; ++i) {
    const std::string id = absl::StrCat("s", i);
    table.Serve(id, i, ca::v1::ACCEPTED, id);
    table.Close(id);
  }
  EXPECT_LE(table.all().size(), ConsumerTable::kMaxEnded);
  EXPECT_EQ(table.epoch(), 1u);
  table.Exited("p");
  EXPECT_THAT(table.RowsOf("p"), IsEmpty());
  EXPECT_THAT(table.all(), IsEmpty());
}

}  // namespace
}  // namespace linchpin::test
