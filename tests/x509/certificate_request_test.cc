// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/certificate_request.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/x509/golden.h"

namespace linchpin::x509 {
namespace {

using ::linchpin::test::StatusIs;
using ::linchpin::test::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(CertificateRequest, ReadsItsOwn) {
  for (const KeyType type : {KeyType::kP256, KeyType::kP384}) {
    ASSERT_OK_AND_ASSIGN(const PrivateKey key, PrivateKey::Generate(type));
    ASSERT_OK_AND_ASSIGN(const std::string plain, MakeCertificateRequest(key));
    ASSERT_OK_AND_ASSIGN(const auto request, CertificateRequest::FromDer(plain));
    EXPECT_TRUE(request.public_key() == key.public_key());
    EXPECT_THAT(request.uri_sans(), IsEmpty());
    EXPECT_FALSE(request.asks_for_ca() || request.asks_for_other_sans());
    ASSERT_OK_AND_ASSIGN(const std::string san,
                         MakeCertificateRequest(key, "spiffe://example.org/web"));
    ASSERT_OK_AND_ASSIGN(const auto with_san, CertificateRequest::FromDer(san));
    EXPECT_THAT(with_san.uri_sans(), ElementsAre("spiffe://example.org/web"));
  }
}

TEST(CertificateRequest, IsReadByTheOpensslProgram) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey key, PrivateKey::Generate(KeyType::kP256));
  ASSERT_OK_AND_ASSIGN(const std::string der,
                       MakeCertificateRequest(key, "spiffe://example.org/web"));
  TempDir dir;
  WriteText(dir.Join("csr.der"), der);
  const ProgramResult result =
      RunOpenSsl(absl::StrCat("req -inform DER -noout -verify -text -in ", dir.Join("csr.der")));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("URI:spiffe://example.org/web"));
}

TEST(CertificateRequest, ReadsThoseOfTheOpensslProgram) {
  for (const char* name : {"plain", "p384", "san"}) {
    ASSERT_OK_AND_ASSIGN(
        const auto request,
        CertificateRequest::FromDer(GoldenFile(absl::StrCat("request-", name, ".der"))));
    EXPECT_FALSE(request.asks_for_ca() || request.asks_for_other_sans()) << name;
  }
}

TEST(CertificateRequest, ShowsWhatIsAskedForSoThatItCanBeRefused) {
  ASSERT_OK_AND_ASSIGN(const auto foreign,
                       CertificateRequest::FromDer(GoldenFile("request-foreign.der")));
  EXPECT_THAT(foreign.uri_sans(), ElementsAre("spiffe://elsewhere.test/web"));
  EXPECT_THAT(foreign.dns_sans(), ElementsAre("elsewhere.test"));
  EXPECT_TRUE(foreign.asks_for_other_sans());
  for (const char* name : {"request-ca.der", "request-sign.der"}) {
    ASSERT_OK_AND_ASSIGN(const auto request, CertificateRequest::FromDer(GoldenFile(name)));
    EXPECT_TRUE(request.asks_for_ca()) << name;
  }
}

TEST(CertificateRequest, RefusesKeysThatAreNoLeafKeys) {
  EXPECT_THAT(CertificateRequest::FromDer(GoldenFile("request-rsa1024.der")),
              StatusIs(kInvalid, HasSubstr("RSA of 1024 bits")));
  EXPECT_THAT(CertificateRequest::FromDer(GoldenFile("request-ed25519.der")),
              StatusIs(kInvalid, HasSubstr("Ed25519")));
  EXPECT_THAT(CertificateRequest::FromDer(GoldenFile("request-explicit.der")), StatusIs(kInvalid));
  EXPECT_THAT(CertificateRequest::FromDer(GoldenFile("request-sha1.der")),
              StatusIs(kInvalid, HasSubstr("SHA1")));
}

TEST(CertificateRequest, RefusesAProofThatDoesNotVerify) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey key, PrivateKey::Generate(KeyType::kP256));
  ASSERT_OK_AND_ASSIGN(const PrivateKey other, PrivateKey::Generate(KeyType::kP256));
  ASSERT_OK_AND_ASSIGN(std::string der, MakeCertificateRequest(key));
  std::string swapped = der;
  const size_t at = swapped.find(key.public_key().spki());
  ASSERT_NE(at, std::string::npos);
  swapped.replace(at, other.public_key().spki().size(), other.public_key().spki());
  EXPECT_THAT(CertificateRequest::FromDer(swapped),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("possession")));
  der.back() = static_cast<char>(der.back() ^ 1);
  EXPECT_THAT(CertificateRequest::FromDer(der), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST(CertificateRequest, RefusesGarbage) {
  const std::string der = GoldenFile("request-san.der");
  for (size_t size = 0; size < der.size(); ++size) {
    EXPECT_THAT(CertificateRequest::FromDer(der.substr(0, size)), StatusIs(kInvalid)) << size;
  }
  EXPECT_THAT(CertificateRequest::FromDer(""), StatusIs(kInvalid, HasSubstr("empty")));
  EXPECT_THAT(CertificateRequest::FromDer(der + "x"), StatusIs(kInvalid, HasSubstr("1 bytes")));
  EXPECT_THAT(CertificateRequest::FromDer(std::string(10 << 20, '0')),
              StatusIs(kInvalid, HasSubstr("at most 8192")));
  EXPECT_THAT(CertificateRequest::FromDer(Golden("leaf").der()), StatusIs(kInvalid));
}

TEST(CertificateRequest, AcceptsNoChangedByte) {
  const std::string der = GoldenFile("request-san.der");
  for (size_t i = 0; i < der.size(); ++i) {
    for (const unsigned char flip : {0x01, 0x80, 0xff}) {
      std::string changed = der;
      changed[i] = static_cast<char>(static_cast<unsigned char>(changed[i]) ^ flip);
      EXPECT_FALSE(CertificateRequest::FromDer(changed).ok()) << i;
    }
  }
}

TEST(MakeCertificateRequest, RefusesANameThatIsNotPrintable) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey key, PrivateKey::Generate(KeyType::kP256));
  EXPECT_THAT(MakeCertificateRequest(key, absl::string_view("a\0b", 3)), StatusIs(kInvalid));
  EXPECT_THAT(MakeCertificateRequest(key, "a b"), StatusIs(kInvalid));
}

}  // namespace
}  // namespace linchpin::x509
