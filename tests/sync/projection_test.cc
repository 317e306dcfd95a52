// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sync/projection.h"

#include <set>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/sync/random_projection.h"

namespace linchpin::sync {
namespace {

using ::linchpin::test::ProjectionOf;
using ::linchpin::test::RandomProjection;
using ::linchpin::test::RandomTrust;
using ::linchpin::test::SeededRandom;

// Feeds all messages; the last must complete the change.
Receiver::Change Deliver(const std::vector<ca::v1::CaMessage>& messages, Receiver* receiver) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const absl::StatusOr<bool> done = receiver->Add(messages[i]);
    EXPECT_THAT(done, test::IsOkAndHolds(i + 1 == messages.size()));
  }
  return receiver->Take();
}

TEST(Projection, DifferencesAndSnapshotsLeadToTheSameProjection) {
  for (uint64_t seed = 0; seed < 120; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    const size_t most = seed % 10 == 0 ? 2000 : 20;
    const Projection a = RandomProjection(random, most);
    const Projection b = RandomProjection(random, most);
    const trust::v1::TrustState trust = RandomTrust(random, seed % 10 == 1 ? 10'000 : 10);
    const trust::v1::TrustState* const sent = random.OneIn(2) ? &trust : nullptr;
    const Stamp stamp{"store", 7, 1'700'000'000, 6};
    Receiver receiver(a, {"store", 6, 0, 0});
    const auto difference = Difference(a, b, sent, stamp);
    const auto snapshot = Snapshot(b, sent, stamp);
    for (const auto* messages : {&difference, &snapshot}) {
      for (const auto& message : *messages) {
        EXPECT_LE(message.ByteSizeLong(), kMaxMessageBytes);
      }
      const Receiver::Change change = Deliver(*messages, &receiver);
      EXPECT_EQ(change.projection.Digest(), b.Digest());
      EXPECT_EQ(change.stamp.revision, 7u);
      EXPECT_EQ(change.stamp.ca_time, 1'700'000'000);
      EXPECT_EQ(change.has_trust, sent != nullptr);
      if (sent != nullptr) {
        EXPECT_EQ(change.trust.SerializeAsString(), trust.SerializeAsString());
      }
      if (messages == &difference) receiver = Receiver(a, {"store", 6, 0, 0});
    }
  }
}

TEST(Projection, TheSameDifferenceIsTheSameBytes) {
  SeededRandom random(1);
  const Projection a = RandomProjection(random, 50);
  const Projection b = RandomProjection(random, 50);
  const auto once = Difference(a, b, nullptr, {"s", 1, 2});
  const auto again = Difference(a, b, nullptr, {"s", 1, 2});
  ASSERT_EQ(once.size(), again.size());
  for (size_t i = 0; i < once.size(); ++i) {
    EXPECT_EQ(once[i].SerializeAsString(), again[i].SerializeAsString());
  }
}

TEST(Projection, AnEmptyChangeIsOneMessageWithTheRevision) {
  const Projection same = ProjectionOf(10, 10);
  const auto messages = Difference(same, same, nullptr, {"store", 9, 5});
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_TRUE(messages[0].complete());
  EXPECT_EQ(messages[0].revision(), 9u);
  EXPECT_EQ(messages[0].identities_size() + messages[0].removed_identities_size(), 0);
}

TEST(Projection, ADifferenceSaysOnlyWhatChanged) {
  Projection from = ProjectionOf(1000, 10);
  Projection to = from;
  to.identities.erase("i7");
  to.identities["i8"].set_hint("new");
  const auto messages = Difference(from, to, nullptr, {"store", 9, 5});
  ASSERT_EQ(messages.size(), 1u);
  ASSERT_EQ(messages[0].removed_identities_size(), 1);
  EXPECT_EQ(messages[0].removed_identities(0), "i7");
  ASSERT_EQ(messages[0].identities_size(), 1);
  EXPECT_EQ(messages[0].identities(0).hint(), "new");
}

TEST(Projection, SlicesOfTwoProjectionsMakeTheSameDifference) {
  Projection from = ProjectionOf(100, 10);
  Projection to = from;
  to.identities["i8"].set_hint("new");
  Projection from_slice;
  Projection to_slice;
  from_slice.identities["i8"] = from.identities["i8"];
  to_slice.identities["i8"] = to.identities["i8"];
  Receiver receiver(from);
  EXPECT_EQ(Deliver(Difference(from_slice, to_slice, nullptr, {"s", 2, 0}), &receiver)
                .projection.Digest(),
            to.Digest());
}

TEST(Projection, MessagesAreFilledAndNeverOverfull) {
  const auto messages = Snapshot(ProjectionOf(5000, 300), nullptr, {"store", 1, 0});
  EXPECT_GT(messages.size(), 20u);
  EXPECT_LT(messages.size(), 40u);
  EXPECT_TRUE(messages[0].reset());
  EXPECT_FALSE(messages[1].reset());
}

TEST(Projection, TrustComesFirst) {
  SeededRandom random(3);
  const trust::v1::TrustState trust = RandomTrust(random, 10'000);
  const auto messages = Snapshot(ProjectionOf(1000, 300), &trust, {"store", 1, 0});
  bool identities_began = false;
  for (const auto& message : messages) {
    EXPECT_FALSE(identities_began && message.has_trust());
    identities_began = identities_began || message.identities_size() > 0;
  }
  EXPECT_TRUE(messages[0].has_trust());
}

TEST(Projection, AnEntryLargerThanAMessageTravelsAlone) {
  Receiver receiver({});
  const Projection large = ProjectionOf(3, 100'000);
  const auto messages = Snapshot(large, nullptr, {"store", 1, 0});
  EXPECT_EQ(messages.size(), 3u);
  EXPECT_EQ(Deliver(messages, &receiver).projection.Digest(), large.Digest());
}

TEST(Projection, EveryFieldChangesTheDigest) {
  Projection base = ProjectionOf(1, 5);
  base.rules[{"spiffe://a/b", "spiffe://a/c"}].set_inbound(true);
  std::set<std::string> digests = {base.Digest(), Projection().Digest()};
  const auto differs = [&](const auto& change) {
    Projection changed = base;
    change(changed.identities["i0"], changed.rules.begin()->second);
    return digests.insert(changed.Digest()).second;
  };
  using I = ca::v1::NodeIdentity;
  using R = trust::v1::PeerRule;
  EXPECT_TRUE(differs([](I& i, R&) { i.set_spiffe_id("spiffe://example.org/other"); }));
  EXPECT_TRUE(differs([](I& i, R&) { i.add_selectors("x"); }));
  EXPECT_TRUE(differs([](I& i, R&) { i.add_dns_names("x"); }));
  EXPECT_TRUE(differs([](I& i, R&) { i.set_ttl_seconds(1); }));
  EXPECT_TRUE(differs([](I& i, R&) { i.set_hint("x"); }));
  EXPECT_TRUE(differs([](I& i, R&) { i.set_order(1); }));
  EXPECT_TRUE(differs([](I&, R& r) { r.set_outbound(true); }));
  EXPECT_TRUE(differs([](I&, R& r) { r.set_inbound(false); }));
  EXPECT_TRUE(differs([](I&, R& r) { r.set_mode(R::AUDIT); }));
}

}  // namespace
}  // namespace linchpin::sync
