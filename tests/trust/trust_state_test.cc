// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/trust_state.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"

namespace linchpin::trust {
namespace {

using test::StatusIs;
using test::TestAuthority;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

v1::Revocation RevokedSerial(const std::string& serial) {
  v1::Revocation entry;
  entry.set_serial(serial);
  return entry;
}

class TrustStateTest : public testing::Test {
 protected:
  std::string DigestWith(const std::function<void(TrustStateParts*)>& change) const {
    TrustStateParts parts = authority_.StateParts();
    change(&parts);
    return (*TrustState::Make(std::move(parts)))->digest();
  }
  TestAuthority authority_;
};

TEST_F(TrustStateTest, KeepsOnlyThePinnedAnchorsAndNamesTheRest) {
  const TestAuthority other("example.org", "other");
  TrustStateParts parts = authority_.StateParts();
  parts.anchors.push_back(other.root().certificate);
  ASSERT_OK_AND_ASSIGN(const auto state, TrustState::Make(parts));
  EXPECT_EQ(state->anchors(), x509::Chain{authority_.root().certificate});
  EXPECT_EQ(state->dropped_anchors(), std::vector<x509::SpkiPin>{other.root().pin()});
  parts.anchors = {other.root().certificate};
  EXPECT_THAT(TrustState::Make(parts), StatusIs(kPrecondition, other.root().pin().ToString()));
  parts.anchors = {};
  EXPECT_THAT(TrustState::Make(parts), StatusIs(kPrecondition, "no anchor"));
}

TEST_F(TrustStateTest, RefusesMalformedPins) {
  const std::vector<std::function<void(TrustStateParts*)>> faults = {
      [](TrustStateParts* p) { p->pins.add_issuers("short"); },
      [](TrustStateParts* p) { p->pins.add_anchors(std::string(33, 'x')); },
      [](TrustStateParts* p) { p->pins.clear_mode(); },
      [](TrustStateParts* p) { p->pins.set_expires_at(-1); },
      [](TrustStateParts* p) { p->pins.set_on_expiry(static_cast<v1::PinSet::OnExpiry>(9)); },
      [](TrustStateParts* p) { p->skew = absl::Hours(2); },
      [](TrustStateParts* p) { p->skew = -absl::Seconds(1); },
      [](TrustStateParts* p) {
        for (int i = 0; i < 300; ++i) p->pins.add_issuers(p->pins.issuers(0));
      },
  };
  for (const auto& fault : faults) {
    TrustStateParts parts = authority_.StateParts();
    fault(&parts);
    EXPECT_THAT(TrustState::Make(parts), StatusIs(kInvalid, "example.org"));
  }
}

TEST_F(TrustStateTest, DigestKnowsNoOrderAndNoDoubles) {
  const std::string digest = authority_.State()->digest();
  EXPECT_EQ(digest.size(), 32u);
  EXPECT_EQ(DigestWith([](TrustStateParts* p) {
              std::reverse(p->issuers.begin(), p->issuers.end());
              p->pins.mutable_issuers()->SwapElements(0, 1);
            }),
            digest);
  EXPECT_EQ(DigestWith([](TrustStateParts* p) {
              p->issuers.push_back(p->issuers[0]);
              p->anchors.push_back(p->anchors[0]);
              p->pins.add_issuers(p->pins.issuers(0));
            }),
            digest);
  const auto revoke = [&](std::vector<v1::Revocation> entries) {
    return DigestWith(
        [&](TrustStateParts* p) { p->revocations = *Revocations::FromMessages(entries); });
  };
  EXPECT_EQ(revoke({RevokedSerial("a"), RevokedSerial("b")}),
            revoke({RevokedSerial("b"), RevokedSerial("a"), RevokedSerial("b")}));
}

TEST_F(TrustStateTest, DigestIsNotOverTheEpoch) {
  EXPECT_EQ(DigestWith([](TrustStateParts* p) { p->epoch = 99; }), authority_.State()->digest());
}

TEST_F(TrustStateTest, DigestChangesWithEverythingThatIsEnforced) {
  const TestAuthority other("example.org", "other");
  const std::vector<std::function<void(TrustStateParts*)>> changes = {
      [](TrustStateParts*) {},
      [](TrustStateParts* p) { p->issuers.pop_back(); },
      [&](TrustStateParts* p) {
        p->anchors.push_back(other.root().certificate);
        p->pins.add_anchors(other.root().pin().bytes());
      },
      [&](TrustStateParts* p) { p->pins.add_anchors(other.root().pin().bytes()); },
      [&](TrustStateParts* p) { p->pins.add_issuers(other.root().pin().bytes()); },
      [](TrustStateParts* p) { p->pins.mutable_issuers()->RemoveLast(); },
      [](TrustStateParts* p) { p->pins.set_mode(v1::PinSet::REPORT_ONLY); },
      [](TrustStateParts* p) { p->pins.set_version(1); },
      [](TrustStateParts* p) { p->pins.set_is_signed(true); },
      [](TrustStateParts* p) { p->pins.set_any_under_anchor(true); },
      [](TrustStateParts* p) { p->pins.set_expires_at(1); },
      [](TrustStateParts* p) { p->pins.set_on_expiry(v1::PinSet::RELAX); },
      [](TrustStateParts* p) { p->pins.set_urgent(true); },
      [](TrustStateParts* p) { p->skew = absl::Seconds(1); },
      [](TrustStateParts* p) { p->revocations = *Revocations::FromMessages({RevokedSerial("a")}); },
      [](TrustStateParts* p) { p->revocations = *Revocations::FromMessages({RevokedSerial("b")}); },
  };
  std::set<std::string> digests;
  for (const auto& change : changes) digests.insert(DigestWith(change));
  EXPECT_EQ(digests.size(), changes.size());
  const TestAuthority elsewhere("elsewhere.org", "authority");
  EXPECT_NE(elsewhere.State()->digest(), authority_.State()->digest());
}

}  // namespace
}  // namespace linchpin::trust
