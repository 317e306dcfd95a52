// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/revocation.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"

namespace linchpin::trust {
namespace {

using test::Certified;
using test::kNow;
using test::StatusIs;
using test::TestAuthority;
using testing::HasSubstr;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

v1::Revocation OfId(const std::string& id, absl::Time before) {
  v1::Revocation entry;
  entry.set_spiffe_id(id);
  entry.set_issued_before(absl::ToUnixSeconds(before));
  return entry;
}
v1::Revocation OfSerial(const std::string& serial) {
  v1::Revocation entry;
  entry.set_serial(serial);
  return entry;
}
v1::Revocation OfKey(const std::string& pin) {
  v1::Revocation entry;
  entry.set_key_sha256(pin);
  return entry;
}

class RevocationTest : public testing::Test {
 protected:
  std::optional<std::string> Denied(const std::vector<v1::Revocation>& entries) const {
    return (*Revocations::FromMessages(entries)).Denies(authority_.Id("/web"), path_);
  }
  TestAuthority authority_;
  const Certified leaf_ = authority_.Leaf("/web");
  const absl::Time issued_ = leaf_.certificate.fields().not_before;
  const std::string id_ = authority_.Id("/web").ToString();
  const x509::Chain path_ = {leaf_.certificate, authority_.active().certificate,
                             authority_.root().certificate};
};

TEST_F(RevocationTest, DeniesNothingByItself) {
  EXPECT_FALSE(Revocations().Denies(authority_.Id("/web"), path_).has_value());
  EXPECT_FALSE(Denied({OfSerial("other"), OfKey(std::string(32, 'x')),
                       OfId("spiffe://example.org/other", kNow)})
                   .has_value());
}

// "By the CA's clock: an ID is denied if NotBefore <= T, and the next leaf starts at T + 1 s".
TEST_F(RevocationTest, DeniesAnIdThatWasIssuedAtOrBeforeTheInstant) {
  EXPECT_TRUE(Denied({OfId(id_, issued_)}).has_value());
  EXPECT_TRUE(Denied({OfId(id_, issued_ + absl::Seconds(1))}).has_value());
  EXPECT_FALSE(Denied({OfId(id_, issued_ - absl::Seconds(1))}).has_value());
}

TEST_F(RevocationTest, OfTwoInstantsForAnIdTheLaterCounts) {
  const v1::Revocation early = OfId(id_, issued_ - absl::Seconds(9));
  const v1::Revocation late = OfId(id_, issued_ + absl::Seconds(9));
  EXPECT_TRUE(Denied({early, late}).has_value());
  EXPECT_TRUE(Denied({late, early}).has_value());
}

TEST_F(RevocationTest, DeniesTheSerialOfTheLeafAlone) {
  EXPECT_THAT(*Denied({OfSerial(leaf_.certificate.fields().serial)}), HasSubstr("serial"));
  EXPECT_FALSE(Denied({OfSerial(authority_.active().certificate.fields().serial)}).has_value());
}

TEST_F(RevocationTest, DeniesAKeyAnywhereInThePath) {
  EXPECT_THAT(*Denied({OfKey(leaf_.pin().bytes())}), HasSubstr("the leaf"));
  EXPECT_THAT(*Denied({OfKey(authority_.active().pin().bytes())}), HasSubstr("an issuer"));
  EXPECT_THAT(*Denied({OfKey(authority_.root().pin().bytes())}), HasSubstr("an issuer"));
  EXPECT_FALSE(Denied({OfKey(authority_.backup().pin().bytes())}).has_value());
}

TEST_F(RevocationTest, SaysWhy) {
  v1::Revocation entry = OfSerial(leaf_.certificate.fields().serial);
  entry.set_reason("laptop\nlost");
  EXPECT_THAT(*Denied({entry}), HasSubstr("\"laptop\\nlost\""));
}

TEST_F(RevocationTest, RefusesOneMalformedEntryWithAllOthers) {
  const v1::Revocation good = OfSerial("s");
  v1::Revocation long_reason = good;
  long_reason.set_reason(std::string(1025, 'x'));
  for (const v1::Revocation& bad :
       {v1::Revocation(), OfSerial(""), OfSerial(std::string("\0a", 2)),
        OfSerial(std::string(21, 'a')), OfKey("short"), OfId("web", kNow),
        OfId("spiffe://example.org/web", absl::FromUnixSeconds(0)), long_reason}) {
    EXPECT_THAT(Revocations::FromMessages({good, bad}), StatusIs(kInvalid, "revocation 1"));
  }
}

TEST_F(RevocationTest, HoldsItsLimit) {
  std::vector<v1::Revocation> entries(65537, OfSerial("s"));
  EXPECT_THAT(Revocations::FromMessages(entries), StatusIs(kInvalid, "at most 65536"));
  entries.pop_back();
  ASSERT_OK_AND_ASSIGN(const Revocations all, Revocations::FromMessages(entries));
  EXPECT_EQ(all.entries().size(), 1u);
}

}  // namespace
}  // namespace linchpin::trust
