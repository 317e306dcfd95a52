// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/relax.h"

#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"

namespace linchpin::trust {
namespace {

using test::KeyNamed;
using test::kNow;
using test::StatusIs;
using test::TestAuthority;

class RelaxTest : public testing::Test {
 protected:
  RelaxTest() : cursor_{.trust_domain = authority_.trust_domain(), .version = 3} {
    cursor_.signers = *DecodeSigners(test::SignersOf({"alice", "bob", "carol"}, 2));
  }
  v1::Relax Good() {
    v1::Relax relax;
    relax.set_trust_domain("example.org");
    relax.set_version(3);
    relax.set_scope(v1::Relax::ISSUER_PINS);
    relax.set_issued_at(absl::ToUnixSeconds(kNow) - 3600);
    relax.set_latest(absl::ToUnixSeconds(kNow) + 86400 * 30);
    relax.set_max_seconds(6 * 3600);
    return relax;
  }
  static v1::SignedRelax Sign(const v1::Relax& relax, const std::vector<std::string>& names) {
    v1::SignedRelax document;
    document.set_payload(relax.SerializeAsString());
    for (const std::string& name : names) {
      *document.add_signatures() = SignRelax(document.payload(), KeyNamed(name));
    }
    return document;
  }
  TestAuthority authority_;
  PinSetCursor cursor_;
  Relaxed relaxed_;
};

TEST_F(RelaxTest, IsHonouredOnceAndForItsMaximumTime) {
  const v1::SignedRelax document = Sign(Good(), {"alice", "carol"});
  ASSERT_OK(Honour(cursor_, document, kNow, &relaxed_));
  EXPECT_EQ(relaxed_.began_at, kNow);
  EXPECT_EQ(relaxed_.ends_at, kNow + absl::Hours(6));
  ASSERT_OK(Honour(cursor_, document, kNow + absl::Hours(7), &relaxed_));
  EXPECT_EQ(relaxed_.ends_at, kNow + absl::Hours(6));
}

TEST_F(RelaxTest, IsNeverHonouredPastItsLatestDate) {
  v1::Relax relax = Good();
  relax.set_latest(absl::ToUnixSeconds(kNow) + 60);
  ASSERT_OK(Honour(cursor_, Sign(relax, {"alice", "bob"}), kNow, &relaxed_));
  EXPECT_EQ(relaxed_.ends_at, kNow + absl::Seconds(60));
  Relaxed late;
  ASSERT_OK(Honour(cursor_, Sign(relax, {"alice", "bob"}), kNow + absl::Seconds(60), &late));
  EXPECT_EQ(late, Relaxed());
}

TEST_F(RelaxTest, OfAnOlderVersionChangesNothing) {
  cursor_.version = 4;
  ASSERT_OK(Honour(cursor_, Sign(Good(), {"alice", "bob"}), kNow, &relaxed_));
  EXPECT_EQ(relaxed_, Relaxed());
}

TEST_F(RelaxTest, IsRefusedUnlessTheSignersOfItsVersionSignedIt) {
  struct Case {
    std::string says;
    absl::StatusCode code;
    std::function<v1::SignedRelax()> make;
  };
  const auto denied = absl::StatusCode::kPermissionDenied;
  const auto precondition = absl::StatusCode::kFailedPrecondition;
  const std::vector<Case> table = {
      {"signed by 1 of", denied, [&] { return Sign(Good(), {"alice"}); }},
      {"signed by 1 of", denied,
       [&] {
         return Sign(Good(), {"alice", "alice"});
       }},
      {"signed by 0 of", denied,
       [&] {
         return Sign(Good(), {"mallory", "malory"});
       }},
      {"signed by 0 of", denied,
       [&] {  // signatures of a pin set are none of a relax document
         v1::SignedRelax document = Sign(Good(), {});
         for (const std::string name : {"alice", "bob"}) {
           *document.add_signatures() = SignPinSet(document.payload(), KeyNamed(name));
         }
         return document;
       }},
      {"other.org", precondition,
       [&] {
         v1::Relax relax = Good();
         relax.set_trust_domain("other.org");
         return Sign(relax, {"alice", "bob"});
       }},
      {"version 5", precondition,
       [&] {
         v1::Relax relax = Good();
         relax.set_version(5);
         return Sign(relax, {"alice", "bob"});
       }},
  };
  for (const Case& one : table) {
    EXPECT_THAT(Honour(cursor_, one.make(), kNow, &relaxed_), StatusIs(one.code, one.says));
    EXPECT_EQ(relaxed_, Relaxed());
  }
  PinSetCursor zero{.trust_domain = authority_.trust_domain()};
  EXPECT_THAT(Honour(zero, Sign(Good(), {"alice", "bob"}), kNow, &relaxed_),
              StatusIs(precondition, "set 0"));
}

TEST_F(RelaxTest, ThatIsMalformedIsRefusedWhole) {
  const std::vector<std::pair<std::string, std::function<void(v1::Relax*)>>> faults = {
      {"trust_domain", [](v1::Relax* r) { r->set_trust_domain("No Domain"); }},
      {"version", [](v1::Relax* r) { r->clear_version(); }},
      {"scope", [](v1::Relax* r) { r->clear_scope(); }},
      {"scope", [](v1::Relax* r) { r->set_scope(static_cast<v1::Relax::Scope>(2)); }},
      {"issued_at", [](v1::Relax* r) { r->set_issued_at(0); }},
      {"latest", [](v1::Relax* r) { r->set_latest(r->issued_at()); }},
      {"max_seconds", [](v1::Relax* r) { r->set_max_seconds(59); }},
      {"max_seconds", [](v1::Relax* r) { r->set_max_seconds(7 * 86400 + 1); }},
      {"field 99",
       [](v1::Relax* r) { r->GetReflection()->MutableUnknownFields(r)->AddVarint(99, 1); }},
  };
  for (const auto& [says, make] : faults) {
    v1::Relax relax = Good();
    make(&relax);
    EXPECT_THAT(ParseRelax(relax.SerializeAsString()),
                StatusIs(absl::StatusCode::kInvalidArgument, says));
  }
  EXPECT_THAT(ParseRelax(""), StatusIs(absl::StatusCode::kInvalidArgument, "payload"));
  EXPECT_THAT(ParseRelax(std::string(5000, 'x')),
              StatusIs(absl::StatusCode::kInvalidArgument, "payload"));
}

TEST_F(RelaxTest, AVersionIsRelaxedBySixteenDocumentsAtMost) {
  for (size_t i = 0; i <= kMaxRelaxes; ++i) {
    v1::Relax relax = Good();
    relax.set_issued_at(relax.issued_at() + static_cast<int64_t>(i));
    const absl::Status status = Honour(cursor_, Sign(relax, {"alice", "bob"}), kNow, &relaxed_);
    if (i < kMaxRelaxes) {
      EXPECT_OK(status);
    } else {
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, "next set"));
    }
  }
}

}  // namespace
}  // namespace linchpin::trust
