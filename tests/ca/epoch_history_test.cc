// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What became of each trust epoch, and that a restart of the CA forgets none of it.

#include "ca/core/epoch_history.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class History : public ::testing::Test {
 protected:
  History() {
    for (const char* name : {"a", "b", "c", "d"}) nodes.push_back(world.Join(name));
    for (size_t i = 0; i < nodes.size(); ++i) Connect(i, 1);
    EXPECT_OK(world.Register("/web"));
  }
  void Connect(size_t node, uint64_t holds) {
    world.Hello(++session, nodes[node], world.HelloHolding(holds));
    sessions[node] = session;
  }
  void Holds(size_t node, uint64_t epoch) {
    world.Step(ca::event::NodeAck{sessions[node], world.Holding(epoch)});
  }
  uint64_t Change() {
    ca::v1::RevokeRequest asked;
    asked.set_spiffe_id(Id("/web"));
    const auto revoked = world.Admin<ca::v1::Revoked>(asked);
    EXPECT_OK(revoked);
    return revoked->trust_epoch();
  }
  void Pass(absl::Duration time) {
    world.now += time;
    world.Step(ca::event::Tick{});
  }
  ca::v1::EpochCoverage Newest() {
    return world.Admin<ca::v1::CoverageHistory>(ca::v1::CoverageHistoryRequest())->epochs(0);
  }
  ca::v1::EpochCoverage Of(uint64_t epoch) {
    ca::v1::CoverageRequest asked;
    asked.set_epoch(epoch);
    return world.Admin<ca::v1::Coverage>(asked)->history();
  }
  static std::vector<uint64_t> CoveredAtMarks(const ca::v1::EpochCoverage& epoch) {
    std::vector<uint64_t> covered;
    for (const ca::v1::CoverageMark& mark : epoch.marks()) {
      covered.push_back(mark.has_count() ? mark.count().nodes_covered() : 99);
    }
    return covered;
  }

  CoreWorld world;
  std::vector<std::string> nodes;
  std::map<size_t, ca::SessionId> sessions;
  ca::SessionId session = 0;
};

TEST_F(History, HasTheShareAtEachMarkAsItWasThen) {
  const uint64_t epoch = Change();
  world.now += absl::Milliseconds(400);
  Holds(0, epoch);
  world.now += absl::Milliseconds(700);
  Holds(1, epoch);
  EXPECT_THAT(CoveredAtMarks(Newest()), SizeIs(0)) << "written at the next tick";
  Pass(absl::Minutes(1));
  EXPECT_THAT(CoveredAtMarks(Newest()), ElementsAre(1, 2));
  EXPECT_EQ(Newest().now().nodes_covered(), 2u);
  Holds(2, epoch);
  Pass(absl::Hours(1));
  EXPECT_THAT(CoveredAtMarks(Newest()), ElementsAre(1, 2, 3));
  EXPECT_EQ(Newest().complete_at_ms(), 0);
  Holds(3, epoch);
  const int64_t at = absl::ToUnixMillis(world.now);
  Pass(absl::Hours(24));
  EXPECT_EQ(Of(epoch).complete_at_ms(), at);
  EXPECT_EQ(Of(epoch).at_completion().nodes_covered(), 4u);
  EXPECT_THAT(CoveredAtMarks(Of(epoch)), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(Of(epoch).changes(), ElementsAre("revoked " + Id("/web")));
}

TEST_F(History, ToldOfWhatWasSoonCompleteHasTheMarksThatHavePassedAndNoOthers) {
  const uint64_t epoch = Change();
  world.now += absl::Milliseconds(300);
  for (size_t node = 0; node < nodes.size(); ++node) Holds(node, epoch);
  Pass(absl::Milliseconds(100));
  EXPECT_NE(Newest().complete_at_ms(), 0);
  EXPECT_THAT(CoveredAtMarks(Newest()), SizeIs(0));
  Pass(absl::Seconds(1));
  EXPECT_THAT(CoveredAtMarks(Newest()), ElementsAre(4));
  Pass(absl::Hours(1));
  EXPECT_THAT(CoveredAtMarks(Of(epoch)), ElementsAre(4, 4, 4));
}

TEST_F(History, SaysOfWhatIsCompleteWhoHasItNow) {
  const uint64_t epoch = Change();
  for (size_t node = 0; node < nodes.size(); ++node) Holds(node, epoch);
  EXPECT_EQ(Newest().now().nodes_covered(), 4u);
  Pass(absl::Seconds(1));
  world.Restart();
  Connect(2, epoch);
  EXPECT_NE(Newest().complete_at_ms(), 0);
  EXPECT_EQ(Newest().now().nodes(), 4u);
  EXPECT_EQ(Newest().now().nodes_covered(), 1u);
}

TEST_F(History, CountsForEachEpochWhoHasItAndForNoneWhoShowsNothing) {
  const uint64_t first = Change(), second = Change(), third = Change();
  ca::v1::Ack ack = world.Holding(third);
  for (const auto& [name, epoch] : {std::pair{"p/i", third}, {"q/i", second}, {"r/i", first}}) {
    ca::v1::Consumer* service = ack.add_consumers();
    service->set_consumer_id(name);
    service->set_trust_epoch(epoch);
    service->set_evidence(epoch == second ? ca::v1::ACCEPTED : ca::v1::IN_FORCE);
  }
  ca::v1::Consumer* silent = ack.add_consumers();
  silent->set_consumer_id("s/i");
  silent->set_trust_epoch(third);
  world.Step(ca::event::NodeAck{sessions[0], ack});
  Holds(1, third);
  Holds(2, second);
  const auto history = world.Admin<ca::v1::CoverageHistory>(ca::v1::CoverageHistoryRequest());
  ASSERT_OK(history);
  std::vector<std::vector<uint64_t>> now;
  for (const ca::v1::EpochCoverage& epoch : history->epochs()) {
    const ca::v1::CoverageCount& count = epoch.now();
    if (epoch.epoch() < first) continue;
    now.push_back({epoch.epoch(), count.nodes(), count.nodes_covered(), count.services(),
                   count.services_covered(), count.in_force(), count.accepted()});
    ca::v1::CoverageRequest asked;
    asked.set_epoch(epoch.epoch());
    EXPECT_EQ(world.Admin<ca::v1::Coverage>(asked)->count().ShortDebugString(),
              count.ShortDebugString());
  }
  EXPECT_THAT(
      now, ElementsAre(ElementsAre(third, 4, 1, 4, 1, 1, 0), ElementsAre(second, 4, 2, 4, 2, 1, 1),
                       ElementsAre(first, 4, 2, 4, 3, 2, 1)));
  ca::v1::CoverageHistoryRequest asked;
  asked.set_most(2);
  EXPECT_EQ(world.Admin<ca::v1::CoverageHistory>(asked)->epochs_size(), 2);
  EXPECT_EQ(world.Admin<ca::v1::CoverageHistory>(asked)->epochs(0).epoch(), third);
}

TEST_F(History, SurvivesARestartOfTheCa) {
  const uint64_t epoch = Change();
  for (size_t node : {0, 1}) Holds(node, epoch);
  Pass(absl::Seconds(2));
  const ca::v1::EpochCoverage before = Newest();
  world.now += absl::Minutes(2);
  world.Restart();
  Pass(absl::Seconds(1));
  EXPECT_EQ(Newest().began_at_ms(), before.began_at_ms());
  EXPECT_THAT(CoveredAtMarks(Newest()), ElementsAre(2, 99)) << "no CA ran at the second mark";
  const auto coverage = world.Admin<ca::v1::Coverage>(ca::v1::CoverageRequest());
  EXPECT_FALSE(coverage->complete());
  EXPECT_EQ(coverage->count().nodes_covered(), 0u) << "who has not come back yet is not known";
  for (size_t node = 0; node < nodes.size(); ++node) Connect(node, epoch);
  Pass(absl::Seconds(1));
  EXPECT_NE(Newest().complete_at_ms(), 0);
}

TEST_F(History, KnowsAfterARestartSinceWhenANodeIsSilentAndTrustsNoRecordOfWhatItHad) {
  const uint64_t epoch = Change();
  for (size_t node : {0, 1}) Holds(node, epoch);
  world.Step(ca::event::NodeGone{sessions[0]});
  world.Step(ca::event::NodeGone{sessions[3]});
  const int64_t gone_at = absl::ToUnixSeconds(world.now);
  Pass(absl::Minutes(2));
  world.Restart();
  const auto coverage = world.Admin<ca::v1::Coverage>(ca::v1::CoverageRequest());
  for (const ca::v1::NodeCoverage& node : coverage->nodes()) {
    const bool recorded = node.node_id() == nodes[0] || node.node_id() == nodes[3];
    EXPECT_EQ(node.last_seen(), recorded ? gone_at : 0) << node.node_id();
    EXPECT_FALSE(node.covered()) << node.node_id();
    EXPECT_FALSE(node.connected());
  }
}

TEST_F(History, IsOfSoManyEpochsAtMost) {
  for (size_t i = 0; i < ca::kEpochsKept + 20; ++i) {
    world.now += absl::Seconds(1);
    Change();
  }
  EXPECT_THAT(world.core->registry().epochs(), SizeIs(ca::kEpochsKept));
  EXPECT_EQ(Newest().epoch(), world.core->registry().trust().record.epoch());
  for (size_t node = 0; node < nodes.size(); ++node) Holds(node, Newest().epoch());
  Pass(absl::Seconds(1));
  for (const auto& [key, row] : world.core->registry().epochs()) {
    EXPECT_NE(row.record.coverage().complete_at_ms(), 0) << key;
  }
}

TEST_F(History, IsWrittenAFewTimesAnEpochHoweverManyNodesThereAre) {
  const uint64_t epoch = Change();
  const ca::Revision before = world.core->registry().revision();
  for (int i = 0; i < 100; ++i) {
    world.now += absl::Milliseconds(5);
    for (size_t node = 0; node < nodes.size(); ++node) Holds(node, i == 99 ? epoch : 1);
    world.Step(ca::event::Tick{});
  }
  Pass(absl::Minutes(3));
  EXPECT_LE(world.core->registry().revision() - before, 2u);
}

TEST_F(History, DoesNotWaitForASilentNodeForEver) {
  const uint64_t epoch = Change();
  for (size_t node : {0, 1, 2}) Holds(node, epoch);
  world.Step(ca::event::NodeGone{sessions[3]});
  auto coverage = world.Admin<ca::v1::Coverage>(ca::v1::CoverageRequest());
  ASSERT_FALSE(coverage->complete());
  EXPECT_EQ(coverage->nodes(0).node_id(), nodes[3]) << "who is late comes first";
  EXPECT_THAT(coverage->nodes(0).why_late(), HasSubstr("silent since"));
  EXPECT_GE(coverage->nodes(0).late_since(), coverage->history().began_at_ms() / 1000);
  world.now = absl::FromUnixSeconds(coverage->nodes(0).leaves_at());
  Pass(absl::Seconds(2));
  coverage = world.Admin<ca::v1::Coverage>(ca::v1::CoverageRequest());
  EXPECT_TRUE(coverage->complete());
  EXPECT_THAT(coverage->left(), SizeIs(1)) << "and it is said";
}

}  // namespace
}  // namespace linchpin::test
