// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What hinders in certificates of others: tests/e2e/test_offline_imports.py, made by openssl.

#include "x509/foreign_issuer.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "x509/certificate_builder.h"
#include "x509/certificate_request.h"

namespace linchpin {
namespace {

using test::StatusIs;
using ::testing::ElementsAre;

TEST(ForeignIssuer, ARequestAsksForAnIssuerOfTheTrustDomainAndProvesItsKey) {
  for (const x509::KeyType type : {x509::KeyType::kP256, x509::KeyType::kP384}) {
    const auto key = *x509::PrivateKey::Generate(type);
    const auto der = x509::MakeIssuerRequest(
        {.organization = "example.org", .common_name = "one", .uri_san = "spiffe://example.org"},
        key);
    ASSERT_OK(der);
    const auto request = x509::CertificateRequest::FromDer(*der);
    ASSERT_OK(request);
    EXPECT_EQ(request->public_key(), key.public_key());
    EXPECT_TRUE(request->asks_for_ca());
    EXPECT_THAT(request->uri_sans(), ElementsAre("spiffe://example.org"));
  }
}

TEST(ForeignIssuer, ANameThatNoCertificateCanCarryIsRefused) {
  const auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  for (const std::string& name : {std::string(), std::string(65, 'x'), std::string("\xff\xfe")}) {
    EXPECT_THAT(
        x509::MakeIssuerRequest(
            {.organization = "example.org", .common_name = name, .uri_san = "spiffe://x"}, key),
        StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST(ForeignIssuer, NothingHindersInAnIssuerOfOurOwnProfile) {
  const auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  x509::CertificateSpec spec;
  spec.common_name = "issuer";
  spec.serial = "\x40";
  spec.not_before = absl::FromUnixSeconds(1'700'000'000);
  spec.not_after = spec.not_before + absl::Hours(1);
  spec.is_ca = true;
  spec.path_length = 0;
  spec.key_cert_sign = true;
  spec.uri_sans = {"spiffe://example.org"};
  EXPECT_EQ(x509::HinderingExtension(*x509::SelfSign(spec, key)), "");
}

}  // namespace
}  // namespace linchpin
