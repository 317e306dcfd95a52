// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/serving_keys.h"

#include "gtest/gtest.h"
#include "tests/ca/core_world.h"

namespace linchpin::test {
namespace {

x509::PrivateKey NewKey() { return *x509::PrivateKey::Generate(x509::KeyType::kP256); }

// The certificate that a CA makes for this key.
x509::Certificate CertificateOf(const x509::PublicKey& key) {
  CoreWorld world;
  world.Step(ca::event::ServingKeyMade{key});
  return world.serving.back().front();
}

class KeysOfTheCasOwnCertificates : public ::testing::Test {
 protected:
  x509::SpkiPin InUse() const { return keys.in_use()->public_key().pin(); }
  ca::ServingKeys keys;
};

TEST_F(KeysOfTheCasOwnCertificates, ComeIntoUseWithTheirCertificateAndNotBefore) {
  const x509::PublicKey first = keys.Made(NewKey());
  EXPECT_FALSE(keys.in_use().has_value());
  ASSERT_TRUE(keys.Use(CertificateOf(first)));
  EXPECT_EQ(InUse(), first.pin());
  const x509::PublicKey second = keys.Made(NewKey());
  EXPECT_EQ(InUse(), first.pin()) << "its certificate is still being made";
  ASSERT_TRUE(keys.Use(CertificateOf(second)));
  EXPECT_EQ(InUse(), second.pin());
}

TEST_F(KeysOfTheCasOwnCertificates, AreFoundByTheCertificateWhereTwoWereAskedFor) {
  const x509::PublicKey first = keys.Made(NewKey());
  const x509::PublicKey second = keys.Made(NewKey());
  ASSERT_TRUE(keys.Use(CertificateOf(first)));
  EXPECT_EQ(InUse(), first.pin());
  ASSERT_TRUE(keys.Use(CertificateOf(second)));
  EXPECT_EQ(InUse(), second.pin());
  EXPECT_FALSE(keys.Use(CertificateOf(first))) << "wiped: a newer one is in use";
  EXPECT_EQ(InUse(), second.pin());
}

TEST_F(KeysOfTheCasOwnCertificates, AreKeptInASmallNumber) {
  const x509::PublicKey oldest = keys.Made(NewKey());
  for (size_t i = 0; i < ca::ServingKeys::kMost; ++i) keys.Made(NewKey());
  EXPECT_FALSE(keys.Use(CertificateOf(oldest)));
  EXPECT_FALSE(keys.in_use().has_value());
}

}  // namespace
}  // namespace linchpin::test
