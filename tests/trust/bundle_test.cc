// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/bundle.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"
#include "trust/trust_codec.h"
#include "x509/certificate.h"
#include "x509/digest.h"

namespace linchpin::trust {
namespace {

using test::kNow;
using test::StatusIs;
using test::TestAuthority;
using test::TwinOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class BundleTest : public testing::Test {
 protected:
  BundleTest() {
    context_ = EncodeTrustState(*authority_.State());
    context_.add_twins(TwinOf(authority_.active()).der());
  }
  void ExpectTwins(BundleKind kind, absl::Time now = kNow) const {
    const Bundle bundle = BundleOf(context_, kind, now);
    EXPECT_EQ(bundle.holds, BundleKind::kPinned);
    EXPECT_THAT(bundle.certificates, ElementsAre(TwinOf(authority_.active()).der()));
    EXPECT_EQ(bundle.why_empty, "");
  }
  void ExpectRoots(BundleKind kind, absl::Time now = kNow) const {
    const Bundle bundle = BundleOf(context_, kind, now);
    EXPECT_EQ(bundle.holds, BundleKind::kRoots);
    EXPECT_THAT(bundle.certificates, ElementsAre(authority_.root().certificate.der()));
    EXPECT_EQ(bundle.why_empty, "");
  }
  TestAuthority authority_;
  agent::v1::TrustDomainContext context_;
};

TEST_F(BundleTest, HoldsTwinsWhilePinsBlockAndRootsWhereAskedFor) {
  ExpectTwins(BundleKind::kPinned);
  ExpectRoots(BundleKind::kRoots);
}

TEST_F(BundleTest, HoldsRootsWherePinsDoNotBlock) {
  context_.mutable_pins()->set_mode(v1::PinSet::REPORT_ONLY);
  ExpectRoots(BundleKind::kPinned);
  context_.mutable_pins()->set_mode(v1::PinSet::ENFORCE);
  context_.mutable_pins()->set_any_under_anchor(true);
  ExpectRoots(BundleKind::kPinned);
}

TEST_F(BundleTest, FollowsWhatTheSetSaysOfItsExpiry) {
  v1::EffectivePins* pins = context_.mutable_pins();
  pins->set_expires_at(absl::ToUnixSeconds(kNow));
  pins->set_expired(true);
  pins->set_on_expiry(v1::PinSet::KEEP);
  ExpectTwins(BundleKind::kPinned);
  pins->set_on_expiry(v1::PinSet::RELAX);
  ExpectRoots(BundleKind::kPinned);
  pins->set_expired(false);
  ExpectTwins(BundleKind::kPinned);
  pins->set_on_expiry(v1::PinSet::FAIL_CLOSED);
  ExpectTwins(BundleKind::kPinned);
  ExpectRoots(BundleKind::kRoots);
  pins->set_expired(true);
  for (const BundleKind kind : {BundleKind::kPinned, BundleKind::kRoots}) {
    const Bundle bundle = BundleOf(context_, kind, kNow);
    EXPECT_EQ(bundle.holds, kind);
    EXPECT_THAT(bundle.certificates, ElementsAre(NobodysAnchor()));
    EXPECT_THAT(bundle.why_empty, HasSubstr("fail_closed"));
  }
}

TEST_F(BundleTest, HoldsRootsWhileThePinsAreRelaxed) {
  v1::EffectivePins* pins = context_.mutable_pins();
  pins->set_relaxed_until(absl::ToUnixSeconds(kNow));
  ExpectRoots(BundleKind::kPinned, kNow - absl::Seconds(1));
  ExpectTwins(BundleKind::kPinned);
}

TEST_F(BundleTest, AcceptsNobodyRatherThanThoseOfRootsWhereNoTwinIsKnown) {
  context_.clear_twins();
  const Bundle bundle = BundleOf(context_, BundleKind::kPinned, kNow);
  EXPECT_EQ(bundle.holds, BundleKind::kPinned);
  EXPECT_THAT(bundle.certificates, ElementsAre(NobodysAnchor()));
  EXPECT_THAT(bundle.why_empty, HasSubstr("no twin of a pinned issuer"));
}

TEST(NobodysAnchor, IsOfAKeyThatIsAHashOfWords) {
  ASSERT_OK(x509::Certificate::FromDer(NobodysAnchor()));
  EXPECT_THAT(NobodysAnchor(), HasSubstr("\x04" + x509::Sha256(kNobodysWords)));
}

TEST(BundleKind, IsReadFromItsName) {
  for (const BundleKind kind : {BundleKind::kPinned, BundleKind::kRoots}) {
    EXPECT_THAT(ParseBundleKind(BundleKindName(kind)), test::IsOkAndHolds(kind));
  }
  EXPECT_THAT(ParseBundleKind("both"),
              StatusIs(absl::StatusCode::kInvalidArgument, "not \"both\""));
}

}  // namespace
}  // namespace linchpin::trust
