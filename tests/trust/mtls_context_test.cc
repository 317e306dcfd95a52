// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/mtls_context.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"

namespace linchpin::trust {
namespace {

using test::Certified;
using test::KeyNamed;
using test::Rule;
using test::StatusIs;
using test::TestAuthority;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

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
