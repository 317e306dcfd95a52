// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"
#include "trust/pin_set.h"

namespace linchpin::trust {
namespace {

using test::KeyNamed;
using test::kNow;
using test::Sign;
using test::SignersOf;
using test::StatusIs;
using test::TestAuthority;
constexpr auto kDenied = absl::StatusCode::kPermissionDenied;
constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

using Names = std::vector<std::string>;

class FollowPinSetsTest : public testing::Test {
 protected:
  PinSetCursor Cursor(const Names& signers, uint32_t threshold, uint64_t version) {
    PinSetCursor cursor{.trust_domain = authority_.trust_domain()};
    cursor.signers = *DecodeSigners(SignersOf(signers, threshold));
    cursor.version = version;
    return cursor;
  }
  v1::SignedPinSet Set(uint64_t version, const Names& signers, uint32_t threshold,
                       const Names& signed_by) {
    return Sign(authority_.PinSetMessage(version, signers, threshold), signed_by);
  }
  static absl::StatusOr<AcceptedPinSets> Follow(const PinSetCursor& cursor,
                                                const std::vector<v1::SignedPinSet>& sets) {
    return FollowPinSets(cursor, sets, kNow, false);
  }
  const Names abc_ = {"alice", "bob", "carol"};
  TestAuthority authority_;
};

TEST_F(FollowPinSetsTest, TakesANewerSetThatEnoughSigned) {
  ASSERT_OK_AND_ASSIGN(const AcceptedPinSets accepted,
                       Follow(Cursor(abc_, 2, 4), {Set(9, abc_, 2, {"alice", "carol"})}));
  EXPECT_EQ(accepted.cursor.version, 9u);
  ASSERT_TRUE(accepted.in_force.has_value());
  EXPECT_EQ(accepted.in_force->message.version(), 9u);
}

TEST_F(FollowPinSetsTest, RefusesASetWithOneSignatureTooFew) {
  EXPECT_THAT(Follow(Cursor(abc_, 2, 4), {Set(5, abc_, 2, {"alice"})}),
              StatusIs(kDenied, "signed by 1 of the previous signers, 2 of 3 are needed"));
  EXPECT_THAT(Follow(Cursor(abc_, 2, 4), {Set(5, abc_, 2, {})}), StatusIs(kDenied));
}

TEST_F(FollowPinSetsTest, CountsAKeyOnceHoweverOftenItSigned) {
  EXPECT_THAT(Follow(Cursor(abc_, 2, 4), {Set(5, abc_, 2, {"alice", "alice", "alice"})}),
              StatusIs(kDenied, "signed by 1 of"));
}

TEST_F(FollowPinSetsTest, IgnoresKeysThatItDoesNotKnow) {
  EXPECT_THAT(Follow(Cursor(abc_, 2, 4), {Set(5, abc_, 2, {"mallory", "alice", "oscar"})}),
              StatusIs(kDenied, "signed by 1 of"));
  EXPECT_OK(Follow(Cursor(abc_, 2, 4), {Set(5, abc_, 2, {"mallory", "alice", "bob"})}));
}

TEST_F(FollowPinSetsTest, CountsNoSignatureThatDoesNotVerify) {
  v1::SignedPinSet set = Set(5, abc_, 2, {"alice", "mallory"});
  // Mallory claims bob's key id.
  set.mutable_signatures(1)->set_key_id(KeyNamed("bob").public_key().pin().bytes());
  EXPECT_THAT(Follow(Cursor(abc_, 2, 4), {set}), StatusIs(kDenied, "signed by 1 of"));
  // A bad one beside a good one of the same key does no harm.
  *set.add_signatures() = SignPinSet(set.payload(), KeyNamed("bob"));
  EXPECT_OK(Follow(Cursor(abc_, 2, 4), {set}));
}

TEST_F(FollowPinSetsTest, RefusesAPayloadThatWasChangedAfterSigning) {
  v1::SignedPinSet set = Set(5, abc_, 2, {"alice", "bob"});
  set.set_payload(authority_.PinSetMessage(6, abc_, 2).SerializeAsString());
  EXPECT_THAT(Follow(Cursor(abc_, 2, 4), {set}), StatusIs(kDenied, "signed by 0 of"));
}

TEST_F(FollowPinSetsTest, RefusesARollback) {
  EXPECT_THAT(Follow(Cursor(abc_, 2, 5), {Set(4, abc_, 2, {"alice", "bob"})}),
              StatusIs(kPrecondition, "rollback"));
}

TEST_F(FollowPinSetsTest, PassesOverAReplay) {
  ASSERT_OK_AND_ASSIGN(const AcceptedPinSets accepted,
                       Follow(Cursor(abc_, 2, 5), {Set(5, abc_, 2, {"alice", "bob"})}));
  EXPECT_EQ(accepted.cursor.version, 5u);
  EXPECT_FALSE(accepted.in_force.has_value());
  ASSERT_OK_AND_ASSIGN(const AcceptedPinSets newer,
                       Follow(Cursor(abc_, 2, 5), {Set(4, abc_, 2, {}), Set(5, abc_, 2, {}),
                                                   Set(6, abc_, 2, {"alice", "bob"})}));
  EXPECT_EQ(newer.cursor.version, 6u);
}

TEST_F(FollowPinSetsTest, RefusesVersionsThatDoNotIncrease) {
  const v1::SignedPinSet six = Set(6, abc_, 2, {"alice", "bob"});
  const v1::SignedPinSet seven = Set(7, abc_, 2, {"alice", "bob"});
  EXPECT_THAT(Follow(Cursor(abc_, 2, 5), {seven, six}), StatusIs(kPrecondition, "must increase"));
  EXPECT_THAT(Follow(Cursor(abc_, 2, 5), {six, six}), StatusIs(kPrecondition, "must increase"));
}

TEST_F(FollowPinSetsTest, RefusesASetOfAnotherTrustDomain) {
  const TestAuthority other("elsewhere.org");
  const v1::SignedPinSet set = Sign(other.PinSetMessage(6, abc_, 2), abc_);
  EXPECT_THAT(Follow(Cursor(abc_, 2, 5), {set}), StatusIs(kPrecondition, "elsewhere.org"));
}

TEST_F(FollowPinSetsTest, FollowsAChangeOfSigners) {
  const Names def = {"dave", "erin", "frank"};
  ASSERT_OK_AND_ASSIGN(const AcceptedPinSets accepted,
                       Follow(Cursor(abc_, 2, 1), {Set(2, def, 2, {"alice", "bob", "dave", "erin"}),
                                                   Set(3, def, 2, {"erin", "frank"})}));
  EXPECT_EQ(accepted.cursor.version, 3u);
  EXPECT_EQ(EncodeSigners(accepted.cursor.signers).SerializeAsString(),
            SignersOf(def, 2).SerializeAsString());
}

TEST_F(FollowPinSetsTest, NeedsBothOldAndNewSignersForAChange) {
  const Names def = {"dave", "erin", "frank"};
  EXPECT_THAT(Follow(Cursor(abc_, 2, 1), {Set(2, def, 2, {"alice", "bob", "dave"})}),
              StatusIs(kDenied, "the set's own signers"));
  EXPECT_THAT(Follow(Cursor(abc_, 2, 1), {Set(2, def, 2, {"alice", "dave", "erin"})}),
              StatusIs(kDenied, "the previous signers"));
}

TEST_F(FollowPinSetsTest, RefusesARemovedSigner) {
  const Names ab = {"alice", "bob"};
  EXPECT_THAT(Follow(Cursor(abc_, 2, 1),
                     {Set(2, ab, 2, {"alice", "bob"}), Set(3, ab, 2, {"alice", "carol"})}),
              StatusIs(kDenied, "version 3"));
}

TEST_F(FollowPinSetsTest, TakesAllOrNothing) {
  const PinSetCursor cursor = Cursor(abc_, 2, 1);
  v1::SignedPinSet bad = Set(3, abc_, 2, {"alice", "bob"});
  bad.set_payload("\xff");
  EXPECT_THAT(Follow(cursor, {Set(2, abc_, 2, {"alice", "bob"}), bad}), StatusIs(kInvalid));
  v1::PinSet no_backup = authority_.PinSetMessage(3, abc_, 2);
  no_backup.mutable_issuers()->RemoveLast();
  EXPECT_THAT(Follow(cursor, {Set(2, abc_, 2, {"alice", "bob"}), Sign(no_backup, abc_)}),
              StatusIs(kInvalid, "the backup is missing"));
}

TEST_F(FollowPinSetsTest, TheFirstSetOverSetZeroInstallsItsOwnSigners) {
  const PinSetCursor zero{.trust_domain = authority_.trust_domain()};
  ASSERT_OK_AND_ASSIGN(const AcceptedPinSets accepted,
                       Follow(zero, {Set(1, abc_, 2, {"alice", "bob"})}));
  EXPECT_EQ(accepted.cursor.signers.keys.size(), 3u);
  EXPECT_THAT(Follow(zero, {Set(1, abc_, 2, {"alice"})}), StatusIs(kDenied, "the set's own"));
  ASSERT_OK_AND_ASSIGN(const AcceptedPinSets none, Follow(zero, {}));
  EXPECT_FALSE(none.in_force.has_value());
}

TEST_F(FollowPinSetsTest, FirstContactRefusesWithheldAndExpiredSets) {
  PinSetCursor cursor = Cursor(abc_, 2, 0);
  cursor.minimum_version = 4;
  const auto first = [&](const std::vector<v1::SignedPinSet>& sets, absl::Time now) {
    return FollowPinSets(cursor, sets, now, true);
  };
  EXPECT_THAT(first({}, kNow), StatusIs(kPrecondition, "no signed pin set"));
  EXPECT_THAT(first({Set(3, abc_, 2, abc_)}, kNow), StatusIs(kPrecondition, "at least 4"));
  EXPECT_OK(first({Set(3, abc_, 2, abc_), Set(4, abc_, 2, abc_)}, kNow));
  // Whatever on_expiry says: it is `keep` here.
  EXPECT_THAT(first({Set(4, abc_, 2, abc_)}, kNow + absl::Hours(24 * 365)),
              StatusIs(kPrecondition, "expired at"));
  EXPECT_OK(FollowPinSets(cursor, {Set(4, abc_, 2, abc_)}, kNow + absl::Hours(24 * 365), false));
}

TEST_F(FollowPinSetsTest, HoldsItsLimits) {
  const v1::SignedPinSet set = Set(5, abc_, 2, {"alice", "bob"});
  EXPECT_THAT(Follow(Cursor(abc_, 2, 5), std::vector<v1::SignedPinSet>(1025, set)),
              StatusIs(kInvalid, "at most 1024"));
  v1::SignedPinSet many = set;
  while (many.signatures_size() <= 64) *many.add_signatures() = many.signatures(0);
  EXPECT_THAT(Follow(Cursor(abc_, 2, 4), {many}), StatusIs(kInvalid, "at most 64"));
}

}  // namespace
}  // namespace linchpin::trust
