// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/twins.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"
#include "trust/trust_acceptance.h"

namespace linchpin::trust {
namespace {

using test::Certified;
using test::kNow;
using test::TestAuthority;
using test::TwinOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class TwinsTest : public testing::Test {
 protected:
  static CheckedTwins Check(TrustStateParts parts, const std::vector<std::string>& offered,
                            absl::Time now = kNow) {
    return CheckTwins(**TrustState::Make(std::move(parts)), {offered.begin(), offered.end()}, now);
  }
  static std::vector<std::string> Kept(const CheckedTwins& checked) {
    std::vector<std::string> ders;
    for (const Twin& twin : checked.twins) ders.push_back(twin.der);
    return ders;
  }
  TestAuthority authority_;
  std::string active_ = TwinOf(authority_.active()).der();
  std::string backup_ = TwinOf(authority_.backup()).der();
};

TEST_F(TwinsTest, ThoseOfThePinnedIssuersAreKeptOnce) {
  const CheckedTwins checked = Check(authority_.StateParts(), {active_, backup_, active_});
  EXPECT_THAT(Kept(checked), ElementsAre(active_, backup_));
  EXPECT_THAT(checked.faults, IsEmpty());
  EXPECT_EQ(checked.twins[0].not_after, authority_.active().certificate.fields().not_after);
}

TEST_F(TwinsTest, OneThatWasCheckedBeforeIsNotVerifiedAgainWhileItsIssuerIsTheSame) {
  const auto state = *TrustState::Make(authority_.StateParts());
  google::protobuf::RepeatedPtrField<std::string> offered;
  *offered.Add() = "not decoded";
  CheckedTwins before;
  before.twins.push_back({"not decoded", kNow + absl::Hours(1), authority_.active().certificate});
  EXPECT_THAT(Kept(CheckTwins(*state, offered, kNow, before)), ElementsAre("not decoded"));
  TrustStateParts unpinned = authority_.StateParts();
  unpinned.pins = SetZero({authority_.root().pin()}, {authority_.backup().pin()});
  EXPECT_THAT(Kept(CheckTwins(**TrustState::Make(unpinned), offered, kNow, before)), IsEmpty());
  before.twins[0].issuer = TestAuthority("other.org").active().certificate;
  const CheckedTwins of_another = CheckTwins(*state, offered, kNow, before);
  EXPECT_THAT(Kept(of_another), IsEmpty());
  EXPECT_EQ(of_another.faults.size(), 1u);
}

TEST_F(TwinsTest, OneWhoseIssuerIsNotPinnedIsLeftOutWithoutAWord) {
  TrustStateParts parts = authority_.StateParts();
  parts.pins = SetZero({authority_.root().pin()}, {authority_.backup().pin()});
  const CheckedTwins checked = Check(parts, {active_, backup_});
  EXPECT_THAT(Kept(checked), ElementsAre(backup_));
  EXPECT_THAT(checked.faults, IsEmpty());
}

TEST_F(TwinsTest, UnderAnyUnderAnchorThereAreNone) {
  TrustStateParts parts = authority_.StateParts();
  parts.pins.clear_issuers();
  parts.pins.set_any_under_anchor(true);
  const CheckedTwins checked = Check(parts, {active_, backup_});
  EXPECT_THAT(Kept(checked), IsEmpty());
  EXPECT_THAT(checked.faults, IsEmpty());
}

TEST_F(TwinsTest, OneWhoseIssuersKeyIsRevokedIsLeftOut) {
  TrustStateParts parts = authority_.StateParts();
  v1::Revocation entry;
  entry.set_key_sha256(authority_.active().pin().bytes());
  parts.revocations = *Revocations::FromMessages({entry});
  EXPECT_THAT(Kept(Check(parts, {active_, backup_})), ElementsAre(backup_));
}

TEST_F(TwinsTest, WhatIsNoTwinIsAFaultAndTheOthersStay) {
  const TestAuthority stranger("example.org", "stranger");
  const Certified unlisted = authority_.MakeIssuer("unlisted");
  const CheckedTwins checked = Check(
      authority_.StateParts(), {active_, "no certificate", authority_.active().certificate.der(),
                                authority_.root().certificate.der(),
                                TwinOf(stranger.active()).der(), TwinOf(unlisted).der(), backup_});
  EXPECT_THAT(Kept(checked), ElementsAre(active_, backup_));
  ASSERT_EQ(checked.faults.size(), 5u);
  EXPECT_THAT(checked.faults[0], HasSubstr("twin 1 of example.org is left out"));
  EXPECT_THAT(checked.faults[1], HasSubstr("is a twin of no issuer"));
}

TEST_F(TwinsTest, ATwinOfAPinnedIssuerWithoutAPathIsAFault) {
  // The same keys and names, but the issuer offered is certified by another root.
  const TestAuthority other("example.org", "other");
  x509::CertificateSpec spec;
  spec.organization = "Linchpin";
  spec.common_name = "authority active";
  spec.serial = "\x07";
  spec.not_before = kNow - absl::Hours(1);
  spec.not_after = kNow + absl::Hours(1);
  spec.is_ca = true;
  spec.path_length = 0;
  spec.key_cert_sign = true;
  const Certified issuer = {*x509::SignCertificate(spec, authority_.active().key.public_key(),
                                                   other.root().certificate, other.root().key),
                            authority_.active().key};
  TrustStateParts parts = authority_.StateParts();
  parts.issuers = {issuer.certificate, authority_.backup().certificate};
  const CheckedTwins checked = Check(parts, {TwinOf(issuer).der(), backup_});
  EXPECT_THAT(Kept(checked), ElementsAre(backup_));
  EXPECT_THAT(checked.faults, ElementsAre(HasSubstr("has no path to an anchor")));
}

TEST_F(TwinsTest, AClockThatIsOffLosesNone) {
  for (const absl::Duration off : {-absl::Hours(48), absl::Hours(24 * 91)}) {
    EXPECT_THAT(Kept(Check(authority_.StateParts(), {active_, backup_}, kNow + off)),
                UnorderedElementsAre(active_, backup_));
  }
}

TEST_F(TwinsTest, MoreThanAreLookedAtAreAFault) {
  std::vector<std::string> offered(256, active_);
  offered.push_back(backup_);
  const CheckedTwins checked = Check(authority_.StateParts(), offered);
  EXPECT_THAT(Kept(checked), ElementsAre(active_));
  EXPECT_THAT(checked.faults, ElementsAre(HasSubstr("too many")));
}

TEST_F(TwinsTest, ATrustStateWithWrongTwinsIsAcceptedWithoutThem) {
  TrustHeld held{.cursor = {.trust_domain = authority_.trust_domain()},
                 .set_zero = true,
                 .frozen_anchors = {authority_.root().pin()}};
  v1::TrustState message = authority_.Message(1);
  ASSERT_OK_AND_ASSIGN(const TrustHeld right,
                       AcceptTrust(held, message, {.now = kNow, .skew = absl::Seconds(60)}));
  EXPECT_THAT(Kept(right.twins), UnorderedElementsAre(active_, backup_));
  message.set_twins(0, "garbage");
  ASSERT_OK_AND_ASSIGN(const TrustHeld wrong,
                       AcceptTrust(held, message, {.now = kNow, .skew = absl::Seconds(60)}));
  EXPECT_THAT(Kept(wrong.twins), ElementsAre(backup_));
  EXPECT_EQ(wrong.twins.faults.size(), 1u);
  EXPECT_EQ(wrong.state->digest(), right.state->digest()) << "twins are no input of a verdict";
}

}  // namespace
}  // namespace linchpin::trust
