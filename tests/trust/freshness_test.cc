// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/freshness.h"

#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"
#include "trust/pin_concerns.h"

namespace linchpin::trust {
namespace {

using test::KeyNamed;
using test::kNow;
using test::StatusIs;
using test::TestAuthority;
using ::testing::HasSubstr;

class FreshnessTest : public testing::Test {
 protected:
  FreshnessTest() : set_(authority_.PinSetMessage(3, {"alice"}, 1)) {
    set_.set_freshness_key(KeyNamed("clerk").public_key().spki());
  }
  v1::Freshness Statement(uint64_t version, absl::Time at) {
    v1::Freshness statement;
    statement.set_trust_domain("example.org");
    statement.set_version(version);
    statement.set_issued_at(absl::ToUnixSeconds(at));
    statement.set_expires_at(absl::ToUnixSeconds(at + absl::Hours(24)));
    return statement;
  }
  TestAuthority authority_;
  v1::PinSet set_;
};

TEST_F(FreshnessTest, IsOfTheKeyThatTheSetNames) {
  const v1::Freshness statement = Statement(3, kNow);
  EXPECT_OK(VerifyFreshness(set_, SignFreshness(statement, KeyNamed("clerk"))));
  EXPECT_THAT(VerifyFreshness(set_, SignFreshness(statement, KeyNamed("alice"))),
              StatusIs(absl::StatusCode::kPermissionDenied, "not signed with the key"));
  v1::Freshness other = statement;
  other.set_trust_domain("other.org");
  EXPECT_THAT(VerifyFreshness(set_, SignFreshness(other, KeyNamed("clerk"))),
              StatusIs(absl::StatusCode::kFailedPrecondition, "other.org"));
  v1::Freshness ages = statement;
  ages.set_expires_at(ages.issued_at() + 86400 * 32);
  EXPECT_THAT(VerifyFreshness(set_, SignFreshness(ages, KeyNamed("clerk"))),
              StatusIs(absl::StatusCode::kInvalidArgument, "expires_at"));
  set_.clear_freshness_key();
  EXPECT_THAT(VerifyFreshness(set_, SignFreshness(statement, KeyNamed("clerk"))),
              StatusIs(absl::StatusCode::kPermissionDenied, "names no key"));
}

TEST_F(FreshnessTest, AnEndThatIsNoTimeAfterItsIssueIsRefused) {
  v1::Freshness statement = Statement(3, kNow);
  for (const int64_t end : {std::numeric_limits<int64_t>::min(), int64_t{-1}, int64_t{0},
                            statement.issued_at(), std::numeric_limits<int64_t>::max()}) {
    statement.set_expires_at(end);
    EXPECT_THAT(ParseFreshness(statement.SerializeAsString()),
                StatusIs(absl::StatusCode::kInvalidArgument, "is not after issued_at"))
        << end;
  }
}

TEST_F(FreshnessTest, AHolderIsAlarmedWhenNoStatementIsNewEnoughOrOneNamesANewerSet) {
  EXPECT_EQ(WhyWithheld(set_, std::nullopt, kNow), "");  // the set itself was signed today
  EXPECT_THAT(WhyWithheld(set_, std::nullopt, kNow + absl::Hours(24)),
              HasSubstr("may be withheld"));
  const v1::Freshness statement = Statement(3, kNow + absl::Hours(20));
  EXPECT_EQ(WhyWithheld(set_, statement, kNow + absl::Hours(30)), "");
  EXPECT_THAT(WhyWithheld(set_, statement, kNow + absl::Hours(44)), HasSubstr("may be withheld"));
  EXPECT_THAT(WhyWithheld(set_, Statement(4, kNow), kNow), HasSubstr("are withheld"));
  set_.clear_freshness_key();
  EXPECT_EQ(WhyWithheld(set_, std::nullopt, kNow + absl::Hours(9000)), "");
}

TEST_F(FreshnessTest, AKeyThatIssuesIsNoneForStatements) {
  set_.set_freshness_key(authority_.active().key.public_key().spki());
  EXPECT_THAT(ParsePinSet(set_.SerializeAsString()),
              StatusIs(absl::StatusCode::kInvalidArgument, "freshness_key"));
}

TEST_F(FreshnessTest, ConcernsAreSaidAtThirtyFourteenSevenAndOneDay) {
  const PinFacts facts{.set = set_, .freshness = Statement(3, kNow + absl::Hours(24 * 400))};
  const absl::Time expires = absl::FromUnixSeconds(set_.expires_at());
  const auto step = [&](absl::Time at) -> std::string {
    for (const PinConcern& concern : PinConcerns(facts, at)) {
      if (concern.kind == "expiring" || concern.kind == "expired") {
        return concern.kind + concern.step;
      }
    }
    return "";
  };
  EXPECT_EQ(step(expires - absl::Hours(24 * 31)), "");
  EXPECT_EQ(NextPinConcern(facts, expires - absl::Hours(24 * 31)), expires - absl::Hours(24 * 30));
  EXPECT_EQ(step(expires - absl::Hours(24 * 30)), "expiring30");
  EXPECT_EQ(step(expires - absl::Hours(24 * 14)), "expiring14");
  EXPECT_EQ(step(expires - absl::Hours(24 * 7)), "expiring7");
  EXPECT_EQ(step(expires - absl::Hours(24)), "expiring1");
  EXPECT_EQ(step(expires), "expired");
}

TEST_F(FreshnessTest, ABackupThatWasNotProvedForHalfAYearIsAConcern) {
  const PinFacts facts{.set = set_};
  const auto unproved = [&](absl::Time at) {
    for (const PinConcern& concern : PinConcerns(facts, at)) {
      if (concern.kind == "backup_unproved") return true;
    }
    return false;
  };
  EXPECT_FALSE(unproved(kNow + kOldProof - absl::Seconds(1)));
  EXPECT_TRUE(unproved(kNow + kOldProof));
  set_.mutable_issuers()->RemoveLast();
  EXPECT_TRUE(unproved(kNow));
}

}  // namespace
}  // namespace linchpin::trust
