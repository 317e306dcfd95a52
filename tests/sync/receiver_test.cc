// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <set>

#include "gtest/gtest.h"
#include "sync/projection.h"
#include "tests/support/status_matchers.h"
#include "tests/sync/random_projection.h"

namespace linchpin::sync {
namespace {

using ::linchpin::test::IsOkAndHolds;
using ::linchpin::test::ProjectionOf;
using ::linchpin::test::RandomProjection;
using ::linchpin::test::RandomTrust;
using ::linchpin::test::SeededRandom;
using ::linchpin::test::StatusIs;

ca::v1::CaMessage Whole(uint64_t revision) {
  ca::v1::CaMessage message;
  message.set_incarnation("store");
  message.set_revision(revision);
  message.set_complete(true);
  return message;
}

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

// A link that loses, doubles and swaps messages.
std::vector<ca::v1::CaMessage> Mangle(std::vector<ca::v1::CaMessage> messages,
                                      SeededRandom& random) {
  for (int faults = 1 + static_cast<int>(random.Below(3)); faults > 0; --faults) {
    if (messages.empty()) break;
    const auto at = messages.begin() + static_cast<long>(random.Below(messages.size()));
    switch (random.Below(3)) {
      case 0:
        messages.erase(at);
        break;
      case 1: {
        const ca::v1::CaMessage copy = *at;
        messages.insert(messages.begin() + static_cast<long>(random.Below(messages.size() + 1)),
                        copy);
        break;
      }
      default:
        std::swap(*at, messages[random.Below(messages.size())]);
    }
  }
  return messages;
}

TEST(Receiver, NeverHoldsAProjectionThatTheCaNeverHad) {
  int refused = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    // What the CA had at each revision, and everything it sent.
    std::vector<Projection> history = {RandomProjection(random, 10)};
    std::vector<ca::v1::CaMessage> sent;
    std::map<uint64_t, std::string> digests;
    for (uint64_t revision = 1; revision <= 5; ++revision) {
      // Every other projection is large, so that its changes take several messages.
      history.push_back(random.OneIn(2) ? ProjectionOf(300, 500) : RandomProjection(random, 30));
      const Stamp stamp{"store", revision, 0, revision - 1};
      const trust::v1::TrustState trust = RandomTrust(random, 10);
      const auto messages =
          revision == 1 || random.OneIn(4)
              ? Snapshot(history.back(), &trust, stamp)
              : Difference(history[revision - 1], history[revision], &trust, stamp);
      sent.insert(sent.end(), messages.begin(), messages.end());
      digests[revision] = history.back().Digest();
    }
    Receiver receiver({});
    for (const auto& message : Mangle(sent, random)) {
      const absl::StatusOr<bool> done = receiver.Add(message);
      if (!done.ok()) {
        EXPECT_TRUE(done.status().code() == kInvalid || done.status().code() == kPrecondition);
        ++refused;
        break;  // the stream ends here: the node asks anew
      }
      if (!*done) continue;
      const Receiver::Change change = receiver.Take();
      EXPECT_EQ(change.projection.Digest(), digests[change.stamp.revision]);
    }
  }
  EXPECT_GT(refused, 200);
}

TEST(Receiver, TakesNothingMoreOfARefusedChange) {
  const Projection held = ProjectionOf(3, 10);
  const auto messages = Difference(held, ProjectionOf(500, 500), nullptr, {"store", 2, 0, 1});
  ASSERT_GT(messages.size(), 3u);
  Receiver receiver(held, {"store", 1, 0, 0});
  EXPECT_THAT(receiver.Add(messages[0]), IsOkAndHolds(false));
  EXPECT_THAT(receiver.Add(messages[2]), StatusIs(kInvalid, "part 2 of revision 2 came where"));
  for (size_t i = 1; i < messages.size(); ++i) {
    EXPECT_THAT(receiver.Add(messages[i]), StatusIs(kInvalid, "without its begin"));
  }
  EXPECT_THAT(receiver.Add(Whole(3)), IsOkAndHolds(true));
  EXPECT_EQ(receiver.Take().projection.Digest(), held.Digest());
}

TEST(Receiver, AnotherStampInTheMiddleOfAChangeIsRefused) {
  const auto messages = Snapshot(ProjectionOf(500, 500), nullptr, {"store", 2, 0});
  Receiver receiver({});
  EXPECT_THAT(receiver.Add(messages[0]), IsOkAndHolds(false));
  EXPECT_THAT(receiver.Add(Whole(3)), StatusIs(kInvalid, "revision 3 began in the middle"));
}

TEST(Receiver, RevisionsDoNotGoBackWithoutASnapshot) {
  Receiver receiver({}, {"store", 5, 0, 0});
  EXPECT_THAT(receiver.Add(Whole(4)), StatusIs(kPrecondition, "revision 4 came after revision 5"));
  EXPECT_THAT(receiver.Add(Whole(5)), IsOkAndHolds(true));
  ca::v1::CaMessage snapshot = Whole(2);
  snapshot.set_reset(true);
  EXPECT_THAT(receiver.Add(snapshot), IsOkAndHolds(true));
  EXPECT_EQ(receiver.Take().stamp.revision, 2u);
}

TEST(Receiver, AChangeOfARevisionThatIsNotHeldIsRefused) {
  Receiver receiver({}, {"store", 5, 0, 0});
  ca::v1::CaMessage message = Whole(7);
  message.set_base_revision(6);
  EXPECT_THAT(receiver.Add(message), StatusIs(kPrecondition, "revision 5 is held"));
  message.set_base_revision(5);
  EXPECT_THAT(receiver.Add(message), IsOkAndHolds(true));
}

TEST(Receiver, AnotherStoreMustBeginWithASnapshot) {
  Receiver receiver(ProjectionOf(3, 3), {"store", 5, 0, 0});
  ca::v1::CaMessage other = Whole(1);
  other.set_incarnation("restored");
  EXPECT_THAT(receiver.Add(other), StatusIs(kPrecondition, "another one than before"));
  other.set_reset(true);
  EXPECT_THAT(receiver.Add(other), IsOkAndHolds(true));
  EXPECT_TRUE(receiver.Take().projection.identities.empty());
}

TEST(Receiver, MalformedAndReservedIdsAreRefused) {
  Receiver receiver({});
  ca::v1::CaMessage message = Whole(1);
  message.add_identities()->set_identity_id("i");
  EXPECT_THAT(receiver.Add(message), StatusIs(kInvalid, "identity 'i'"));
  message.mutable_identities(0)->set_spiffe_id("spiffe://example.org/linchpin/ca");
  EXPECT_THAT(receiver.Add(message), StatusIs(kInvalid, "reserved"));
  message.mutable_identities(0)->set_spiffe_id("spiffe://example.org/web");
  EXPECT_THAT(receiver.Add(message), IsOkAndHolds(true));
  message.mutable_identities(0)->clear_identity_id();
  EXPECT_THAT(receiver.Add(message), StatusIs(kInvalid, "identity_id"));
  ca::v1::CaMessage rule = Whole(2);
  rule.add_rules()->set_from("spiffe://example.org/web");
  rule.mutable_rules(0)->set_to("payments");
  EXPECT_THAT(receiver.Add(rule), StatusIs(kInvalid, "peer rule"));
}

TEST(Receiver, TakesNoMoreThanANodeMayHold) {
  Receiver receiver({});
  absl::Status status;
  for (const auto& message : Snapshot(ProjectionOf(kMaxIdentities + 1, 1), nullptr, {"s", 1, 0})) {
    const absl::StatusOr<bool> done = receiver.Add(message);
    status = done.status();
    if (!status.ok()) break;
  }
  EXPECT_THAT(status, StatusIs(kInvalid, "more than 20000 identities"));
}

TEST(Receiver, TrustOfOneChangeIsOneTrustState) {
  Receiver receiver({});
  ca::v1::CaMessage message = Whole(1);
  message.set_complete(false);
  message.mutable_trust()->set_epoch(1);
  EXPECT_THAT(receiver.Add(message), IsOkAndHolds(false));
  message.set_part(1);
  message.mutable_trust()->set_epoch(2);
  EXPECT_THAT(receiver.Add(message), StatusIs(kInvalid, "two trust states"));
}

TEST(Receiver, TrustIsLimitedAsAWhole) {
  Receiver receiver({});
  absl::Status status;
  for (uint32_t part = 0; part < 20 && status.ok(); ++part) {
    ca::v1::CaMessage message = Whole(1);
    message.set_complete(false);
    message.set_part(part);
    message.mutable_trust()->add_anchors(std::string(1 << 20, 'x'));
    status = receiver.Add(message).status();
  }
  EXPECT_THAT(status, StatusIs(kInvalid, "bytes of trust state"));
}

TEST(Receiver, AGoodbyeIsNoChange) {
  Receiver receiver({});
  ca::v1::CaMessage message;
  message.mutable_goodbye()->set_reconnect_after_ms(100);
  EXPECT_THAT(receiver.Add(message), IsOkAndHolds(false));
}

}  // namespace
}  // namespace linchpin::sync
