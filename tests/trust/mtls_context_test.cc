// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/mtls_context.h"

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

using test::Certified;
using test::ContextOf;
using test::KeyNamed;
using test::Rule;
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

class MtlsContextTest : public testing::Test {
 protected:
  MtlsContextParts Parts(const std::string& path = "/web", const std::string& key = "") const {
    const Certified leaf = authority_.Leaf(path, authority_.active(), key);
    MtlsContextParts parts;
    parts.chain = {leaf.certificate, authority_.active().certificate};
    parts.key = leaf.key;
    parts.trust.emplace(authority_.trust_domain(), authority_.State());
    parts.policy = Policy({"/payments"});
    return parts;
  }
  PeerPolicy Policy(const std::vector<std::string>& callees) const {
    std::vector<v1::PeerRule> rules;
    for (const std::string& callee : callees) {
      rules.push_back(Rule("spiffe://example.org/web", "spiffe://example.org" + callee));
    }
    return *PeerPolicy::ForIdentity(authority_.Id("/web"), rules);
  }
  TestAuthority authority_;
};

TEST_F(MtlsContextTest, NeedsTheKeyOfItsLeaf) {
  EXPECT_OK(MtlsContext::Make(Parts()));
  MtlsContextParts parts = Parts();
  parts.key = KeyNamed("somebody else's");
  EXPECT_THAT(MtlsContext::Make(parts), StatusIs(kInvalid, "but its leaf certifies"));
  parts = Parts();
  parts.key.reset();
  EXPECT_THAT(MtlsContext::Make(parts), StatusIs(kInvalid, "no key"));
  parts = Parts();
  parts.chain.clear();
  EXPECT_THAT(MtlsContext::Make(parts), StatusIs(kInvalid, "no certificate"));
}

TEST_F(MtlsContextTest, RefusesALeafThatIsNoX509Svid) {
  MtlsContextParts parts = Parts();
  parts.chain = {authority_.active().certificate};
  parts.key = authority_.active().key;
  EXPECT_THAT(MtlsContext::Make(parts), StatusIs(kInvalid, "NO_SPIFFE_ID"));
}

TEST_F(MtlsContextTest, RefusesATrustStateUnderAnotherName) {
  MtlsContextParts parts = Parts();
  parts.trust.emplace(*TrustDomain::FromName("elsewhere.org"), authority_.State());
  EXPECT_THAT(MtlsContext::Make(parts), StatusIs(kInvalid, "under elsewhere.org"));
  parts = Parts();
  parts.trust.begin()->second = nullptr;
  EXPECT_THAT(MtlsContext::Make(parts), StatusIs(kInvalid, "missing"));
}

TEST_F(MtlsContextTest, JudgesWithoutACertificateToo) {
  MtlsContextParts parts = Parts();
  parts.chain.clear();
  parts.key.reset();
  ASSERT_OK_AND_ASSIGN(const auto context, MtlsContext::Make(parts));
  EXPECT_FALSE(context->has_certificate());
  EXPECT_FALSE(context->id().has_value());
  EXPECT_EQ(context->expires_at(), absl::InfinitePast());
  EXPECT_NE(context->TrustFor(authority_.trust_domain()), nullptr);
  EXPECT_EQ(context->TrustFor(*TrustDomain::FromName("elsewhere.org")), nullptr);
}

TEST_F(MtlsContextTest, ExpiresWithItsLeaf) {
  ASSERT_OK_AND_ASSIGN(const auto context, MtlsContext::Make(Parts()));
  EXPECT_EQ(context->expires_at(), test::kNow + absl::Hours(1));
}

TEST_F(MtlsContextTest, ARenewalChangesTheContextDigestButNotTheTrustDigest) {
  ASSERT_OK_AND_ASSIGN(const auto before, MtlsContext::Make(Parts("/web", "first key")));
  ASSERT_OK_AND_ASSIGN(const auto after, MtlsContext::Make(Parts("/web", "second key")));
  EXPECT_EQ(before->trust_digest(), after->trust_digest());
  EXPECT_NE(before->context_digest(), after->context_digest());
}

TEST_F(MtlsContextTest, TrustPolicyAndIdentityChangeBothDigests) {
  // One and the same leaf in all: signatures are random, so another would change the digest.
  const MtlsContextParts first = Parts();
  ASSERT_OK_AND_ASSIGN(const auto before, MtlsContext::Make(first));
  ASSERT_OK_AND_ASSIGN(const auto same, MtlsContext::Make(first));
  EXPECT_EQ(before->context_digest(), same->context_digest());
  const auto changed = [&](MtlsContextParts parts) {
    const auto after = *MtlsContext::Make(std::move(parts));
    return before->trust_digest() != after->trust_digest() &&
           before->context_digest() != after->context_digest();
  };
  MtlsContextParts parts = first;
  parts.policy = Policy({"/payments", "/orders"});
  EXPECT_TRUE(changed(parts));
  parts = first;
  TrustStateParts state = authority_.StateParts();
  state.pins.set_urgent(true);
  parts.trust.begin()->second = *TrustState::Make(state);
  EXPECT_TRUE(changed(parts));
  parts = Parts("/other");
  EXPECT_TRUE(changed(parts));
}

TEST_F(MtlsContextTest, TrustDigestOfOneIdentityIsThatOfItsContext) {
  ASSERT_OK_AND_ASSIGN(const auto context, MtlsContext::Make(Parts()));
  EXPECT_EQ(TrustDigest(context->trust(), {{*context->id(), context->policy()}}),
            context->trust_digest());
}

TEST_F(MtlsContextTest, TrustDigestTellsModesAndDirectionsApart) {
  const SpiffeId web = authority_.Id("/web");
  std::set<std::string> digests;
  for (int variant = 0; variant < 4; ++variant) {
    v1::PeerRule rule;
    rule.set_from("spiffe://example.org/web");
    rule.set_to("spiffe://example.org/payments");
    if (variant >= 2) std::swap(*rule.mutable_from(), *rule.mutable_to());
    rule.set_outbound(true);
    rule.set_inbound(true);
    rule.set_mode(variant % 2 == 0 ? v1::PeerRule::ENFORCE : v1::PeerRule::AUDIT);
    digests.insert(TrustDigest({}, {{web, *PeerPolicy::ForIdentity(web, {rule})}}));
  }
  digests.insert(TrustDigest({}, {{web, PeerPolicy()}}));
  digests.insert(TrustDigest({}, {}));
  EXPECT_EQ(digests.size(), 6u);
}

}  // namespace
}  // namespace linchpin::trust
