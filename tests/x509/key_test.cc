// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/key.h"

#include <openssl/x509.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/x509/golden.h"

namespace linchpin::x509 {
namespace {

using ::linchpin::test::StatusIs;
using ::linchpin::test::TempDir;
using ::testing::HasSubstr;

class EachCurve : public ::testing::TestWithParam<KeyType> {};
INSTANTIATE_TEST_SUITE_P(Keys, EachCurve, ::testing::Values(KeyType::kP256, KeyType::kP384));

TEST_P(EachCurve, SignsAndVerifies) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey key, PrivateKey::Generate(GetParam()));
  ASSERT_OK_AND_ASSIGN(const PrivateKey other, PrivateKey::Generate(GetParam()));
  ASSERT_OK_AND_ASSIGN(std::string signature, key.Sign("message"));
  EXPECT_OK(key.public_key().CheckLeafKey());
  EXPECT_OK(key.public_key().Verify("message", signature));
  EXPECT_THAT(key.public_key().Verify("massage", signature),
              StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(key.public_key().Verify("message", ""),
              StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(other.public_key().Verify("message", signature),
              StatusIs(absl::StatusCode::kPermissionDenied));
  signature.back() = static_cast<char>(signature.back() ^ 1);
  EXPECT_THAT(key.public_key().Verify("message", signature),
              StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_P(EachCurve, GoesThroughPkcs8AndPem) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey key, PrivateKey::Generate(GetParam()));
  ASSERT_OK_AND_ASSIGN(const PrivateKey from_der, PrivateKey::FromPkcs8(key.ToPkcs8()));
  ASSERT_OK_AND_ASSIGN(const PrivateKey from_pem, PrivateKey::FromPem(key.ToPem()));
  EXPECT_TRUE(from_der.public_key() == key.public_key());
  EXPECT_TRUE(from_pem.ToPkcs8().ConstantTimeEquals(key.ToPkcs8()));
  ASSERT_OK_AND_ASSIGN(const PublicKey spki, PublicKey::FromSpki(key.public_key().spki()));
  ASSERT_OK_AND_ASSIGN(const PublicKey evp, PublicKey::FromEvp(key.evp()));
  EXPECT_EQ(spki.pin(), key.public_key().pin());
  EXPECT_TRUE(evp == spki);
}

TEST_P(EachCurve, IsReadByTheOpensslProgram) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey key, PrivateKey::Generate(GetParam()));
  TempDir dir;
  WriteText(dir.Join("key.pem"), key.ToPem().Reveal());
  const ProgramResult check =
      RunOpenSsl(absl::StrCat("pkey -check -noout -in ", dir.Join("key.pem")));
  EXPECT_EQ(check.exit_code, 0) << check.output;
  const ProgramResult again =
      RunOpenSsl(absl::StrCat("pkcs8 -topk8 -nocrypt -in ", dir.Join("key.pem")));
  EXPECT_EQ(again.output, key.ToPem().Reveal());
}

TEST(PrivateKey, ReadsKeysOfTheOpensslProgramByteForByte) {
  for (const char* name : {"key-p256.der", "key-p384.der"}) {
    const SecretBytes der(GoldenFile(name));
    ASSERT_OK_AND_ASSIGN(const PrivateKey key, PrivateKey::FromPkcs8(der));
    EXPECT_TRUE(key.ToPkcs8().ConstantTimeEquals(der)) << name;
  }
  ASSERT_OK_AND_ASSIGN(const PrivateKey key,
                       PrivateKey::FromPem(SecretBytes(GoldenFile("key-p256.pem"))));
  EXPECT_EQ(key.public_key().spki(), GoldenFile("public-leaf.der"));
  EXPECT_EQ(key.ToPem().Reveal(), GoldenFile("key-p256.pem"));
}

TEST(PrivateKey, WorksOutAPublicHalfThatIsMissing) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey key,
                       PrivateKey::FromPkcs8(SecretBytes(GoldenFile("key-no-public.der"))));
  EXPECT_EQ(key.public_key().spki(), GoldenFile("public-leaf.der"));
}

TEST(PrivateKey, RefusesWhatIsNotOnePlainPkcs8Key) {
  const std::string der = GoldenFile("key-p256.der");
  for (size_t size = 0; size < der.size(); ++size) {
    EXPECT_THAT(PrivateKey::FromPkcs8(SecretBytes(der.substr(0, size))),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << size;
  }
  EXPECT_THAT(PrivateKey::FromPkcs8(SecretBytes(der + std::string(1, '\0'))),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(PrivateKey::FromPkcs8(SecretBytes(std::string(10 << 20, '0'))),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 8192")));
  EXPECT_THAT(PrivateKey::FromPkcs8(SecretBytes(GoldenFile("key-rsa2048.der"))),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("found RSA of 2048 bits")));
  EXPECT_THAT(PrivateKey::FromPem(SecretBytes(GoldenFile("key-traditional.pem"))),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("EC PRIVATE KEY")));
  EXPECT_THAT(PrivateKey::FromPem(SecretBytes(GoldenFile("key-encrypted.pem"))),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ENCRYPTED PRIVATE KEY")));
  EXPECT_THAT(PrivateKey::FromPem(SecretBytes("")), StatusIs(absl::StatusCode::kInvalidArgument));
  const std::string pem = GoldenFile("key-p256.pem");
  EXPECT_THAT(PrivateKey::FromPem(SecretBytes(pem + pem)),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

// The public half in PKCS#8 is the writer's claim.
TEST(PrivateKey, RefusesAnotherKeysPublicHalf) {
  std::string der = GoldenFile("key-p256.der");
  ASSERT_OK_AND_ASSIGN(const PrivateKey other, PrivateKey::Generate(KeyType::kP256));
  der.replace(der.size() - 65, 65, other.public_key().spki(), 26, 65);
  EXPECT_THAT(PrivateKey::FromPkcs8(SecretBytes(der)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another key")));
}

TEST(PrivateKey, ErrorsNeverQuoteTheKey) {
  const std::string pem = GoldenFile("key-p256.pem");
  const std::string body = pem.substr(pem.find('\n') + 1, 20);
  const std::string broken = pem.substr(0, 60);
  for (const std::string& text : {broken, body}) {
    const absl::Status status = PrivateKey::FromPem(SecretBytes(text)).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_EQ(status.message().find(body.substr(0, 8)), absl::string_view::npos) << status;
  }
}

TEST(PublicKey, SaysWhatItFoundInsteadOfALeafKey) {
  const struct {
    const char* file;
    const char* found;
    bool strong;
  } cases[] = {
      {"public-rsa1024.der", "RSA of 1024 bits", false},
      {"public-explicit.der", "elliptic curve", false},
      {"public-ed25519.der", "Ed25519", true},
      {"public-compressed.der", "elliptic curve", true},
  };
  for (const auto& c : cases) {
    ASSERT_OK_AND_ASSIGN(const PublicKey key, PublicKey::FromSpki(GoldenFile(c.file)));
    EXPECT_THAT(key.CheckLeafKey(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.found)));
    EXPECT_EQ(key.CheckStrength().ok(), c.strong) << c.file;
    EXPECT_FALSE(key.Verify("data", "signature").ok());
  }
}

TEST(PublicKey, RefusesGarbage) {
  for (const char* name : {"public-leaf.der", "public-p384.der", "public-ed25519.der"}) {
    const std::string der = GoldenFile(name);
    for (size_t size = 0; size < der.size(); ++size) {
      EXPECT_THAT(PublicKey::FromSpki(der.substr(0, size)),
                  StatusIs(absl::StatusCode::kInvalidArgument))
          << name << " " << size;
    }
    EXPECT_THAT(PublicKey::FromSpki(der + "x"), StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(PublicKey::FromSpki(std::string(10 << 20, '0')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 4096")));
}

TEST(PublicKey, RefusesAPointOffTheCurve) {
  std::string der = GoldenFile("public-leaf.der");
  der.back() = static_cast<char>(der.back() ^ 1);
  EXPECT_THAT(PublicKey::FromSpki(der), StatusIs(absl::StatusCode::kInvalidArgument));
}

// A key is made from its point and its curve's parameters: OpenSSL's decoder must make the same.
TEST_P(EachCurve, IsWhatOpenSslDecodes) {
  for (int round = 0; round < 20; ++round) {
    ASSERT_OK_AND_ASSIGN(const PrivateKey key, PrivateKey::Generate(GetParam()));
    const std::string& spki = key.public_key().spki();
    const auto* at = reinterpret_cast<const unsigned char*>(spki.data());
    EVP_PKEY* decoded = d2i_PUBKEY(nullptr, &at, static_cast<long>(spki.size()));
    ASSERT_OK_AND_ASSIGN(const PublicKey read, PublicKey::FromSpki(spki));
    EXPECT_EQ(EVP_PKEY_eq(read.evp(), decoded), 1);
    EVP_PKEY_free(decoded);
    ASSERT_OK_AND_ASSIGN(const PublicKey encoded, PublicKey::FromEvp(read.evp()));
    EXPECT_EQ(encoded.spki(), spki);
  }
}

// A thread verifies with one key object that takes on one point after the other.
TEST_P(EachCurve, VerifiesItsOwnWhateverWasReadBetween) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey one, PrivateKey::Generate(GetParam()));
  ASSERT_OK_AND_ASSIGN(const PrivateKey two, PrivateKey::Generate(GetParam()));
  ASSERT_OK_AND_ASSIGN(const std::string by_one, one.Sign("message"));
  ASSERT_OK_AND_ASSIGN(const std::string by_two, two.Sign("message"));
  ASSERT_OK_AND_ASSIGN(const PublicKey first, PublicKey::FromSpki(one.public_key().spki()));
  ASSERT_OK_AND_ASSIGN(const PublicKey second, PublicKey::FromSpki(two.public_key().spki()));
  std::string off_the_curve = first.spki();
  off_the_curve.back() = static_cast<char>(off_the_curve.back() ^ 1);
  for (int round = 0; round < 3; ++round) {
    EXPECT_OK(first.Verify("message", by_one));
    EXPECT_OK(second.Verify("message", by_two));
    EXPECT_THAT(second.Verify("message", by_one), StatusIs(absl::StatusCode::kPermissionDenied));
    EXPECT_THAT(first.Verify("message", by_two), StatusIs(absl::StatusCode::kPermissionDenied));
    for (int again = 0; again < 2; ++again) {
      EXPECT_THAT(PublicKey::FromSpki(off_the_curve), StatusIs(absl::StatusCode::kInvalidArgument));
    }
  }
  EXPECT_EQ(EVP_PKEY_eq(first.evp(), one.evp()), 1);
  EXPECT_EQ(EVP_PKEY_eq(second.evp(), two.evp()), 1);
}

TEST_P(EachCurve, IsReadInSeveralThreadsAtOnce) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey key, PrivateKey::Generate(GetParam()));
  ASSERT_OK_AND_ASSIGN(const std::string signature, key.Sign("message"));
  ASSERT_OK_AND_ASSIGN(const PublicKey shared, PublicKey::FromSpki(key.public_key().spki()));
  std::atomic<int> sound = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        const auto read = PublicKey::FromSpki(key.public_key().spki());
        if (read.ok() && read->Verify("message", signature).ok() &&
            EVP_PKEY_eq(shared.evp(), key.evp()) == 1) {
          ++sound;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sound, 200);
}

}  // namespace
}  // namespace linchpin::x509
