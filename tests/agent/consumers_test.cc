// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/consumers.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"

namespace linchpin::test {
namespace {

using agent::ConsumerTable;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::SizeIs;

// Streams of one process that serves one identity.
struct Streams {
  void Open(const std::string& id, ca::v1::Evidence evidence) {
    ASSERT_THAT(table.Open({id, "process", {"unix:uid:1"}, evidence}), IsOk());
  }
  void Deliver(const std::string& id, uint64_t epoch) {
    table.Deliver(id, {.epoch = epoch, .trust_digest = "digest", .has_identities = true},
                  {{"identity", "spiffe://example.org/web"}}, kNow + absl::Hours(1));
  }
  void Accept(const std::string& id, uint64_t epoch) {
    agent::v1::ReportRequest report;
    report.set_consumer_id(id);
    report.set_trust_epoch(epoch);
    report.set_trust_digest("digest");
    ASSERT_THAT(table.Check(report), IsOk());
    table.Reported(report);
  }
  ca::v1::Evidence EvidenceOf(const std::string& id) {
    const ConsumerTable::Rows rows = table.RowsOf(id);
    EXPECT_THAT(rows, SizeIs(1));
    return rows.begin()->second.evidence();
  }
  ConsumerTable table;
};

TEST(ConsumerTable, AStreamThatHoldsNoTrustHasNoRow) {
  Streams streams;
  streams.Open("certificate", ca::v1::NONE);
  streams.Deliver("certificate", 1);
  EXPECT_THAT(streams.table.RowsOf("certificate"), IsEmpty());
  streams.table.Close("certificate");
  EXPECT_THAT(streams.table.all(), IsEmpty());
}

TEST(ConsumerTable, OneThatBeginsToHoldTrustIsWaitedFor) {
  Streams streams;
  streams.Open("s", ca::v1::NONE);
  streams.Deliver("s", 1);
  streams.table.TakeTouched();
  streams.table.Holds("s", ca::v1::ACCEPTED);
  EXPECT_THAT(streams.table.TakeTouched(), ElementsAre("s"));
  EXPECT_EQ(streams.EvidenceOf("s"), ca::v1::NONE);
  streams.Accept("s", 1);
  EXPECT_EQ(streams.EvidenceOf("s"), ca::v1::ACCEPTED);
  streams.table.Holds("s", ca::v1::NONE);
  EXPECT_THAT(streams.table.RowsOf("s"), IsEmpty());
}

TEST(ConsumerTable, OneWithoutTrustStandsInForNobodyWhoHadIt) {
  Streams streams;
  streams.Open("trust", ca::v1::ACCEPTED);
  streams.Deliver("trust", 1);
  streams.table.Close("trust");
  streams.Open("certificate", ca::v1::NONE);
  streams.Deliver("certificate", 2);
  EXPECT_THAT(streams.table.RowsOf("trust"), SizeIs(1)) << "its process goes on with it";
  streams.table.Holds("certificate", ca::v1::ACCEPTED);
  EXPECT_THAT(streams.table.RowsOf("trust"), IsEmpty());
  EXPECT_THAT(streams.table.RowsOf("certificate"), SizeIs(1));
}

TEST(ConsumerTable, AfterARestartACertificateAloneIsNotTheServiceThatIsMissed) {
  Streams streams;
  streams.table.Restarted({{"identity", "spiffe://example.org/web"}}, kNow + absl::Seconds(30));
  const std::string missing = *streams.table.TakeTouched().begin();
  streams.Open("certificate", ca::v1::NONE);
  streams.Deliver("certificate", 1);
  EXPECT_THAT(streams.table.RowsOf(missing), SizeIs(1));
  streams.Open("trust", ca::v1::NONE);
  streams.Deliver("trust", 1);
  streams.table.Holds("trust", ca::v1::ACCEPTED);
  EXPECT_THAT(streams.table.RowsOf(missing), IsEmpty());
}

}  // namespace
}  // namespace linchpin::test
