// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The profile itself is held by golden chains; here is what a caller of CheckLeaf relies on.

#include "trust/x509_svid.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/golden_case.h"
#include "tests/trust/test_authority.h"

namespace linchpin::trust {
namespace {

using test::TestAuthority;

LeafCheck CheckCase(const std::string& name) {
  const test::GoldenCase golden = *test::ReadGoldenCase(name);
  return CheckLeaf(*x509::Certificate::FromDer(golden.chain[0]));
}

TEST(X509Svid, AConformingLeafHasAnIdAndNoFinding) {
  const TestAuthority authority;
  const LeafCheck check = CheckLeaf(authority.Leaf("/web").certificate);
  EXPECT_EQ(check.id, authority.Id("/web"));
  EXPECT_TRUE(check.findings.empty());
}

TEST(X509Svid, AnIdIsGivenOnlyWhereThereIsExactlyOne) {
  for (const char* name : {"no-san", "two-uri-sans", "two-uri-sans-one-spiffe", "no-spiffe-uri",
                           "trust-domain-id", "escaped-id", "upper-case-trust-domain"}) {
    EXPECT_FALSE(CheckCase(name).id.has_value()) << name;
  }
  for (const char* name : {"leaf-is-ca", "wrong-eku", "rsa-1024", "sha-1"}) {
    EXPECT_TRUE(CheckCase(name).id.has_value()) << name;
  }
}

TEST(X509Svid, EveryBrokenRuleIsFound) {
  const LeafCheck check = CheckCase("several-faults");
  ASSERT_EQ(check.findings.size(), 3u);
  EXPECT_EQ(check.findings[0].reason, v1::LEAF_SIGNS_CERTIFICATES);
  EXPECT_EQ(check.findings[1].reason, v1::LEAF_KEY_USAGE);
  EXPECT_EQ(check.findings[2].reason, v1::LEAF_EXTENDED_KEY_USAGE);
}

TEST(X509Svid, ReservedIdsConform) {
  EXPECT_TRUE(CheckCase("role-ca").findings.empty());
  EXPECT_TRUE(CheckCase("role-ca").id->IsCa());
}

}  // namespace
}  // namespace linchpin::trust
