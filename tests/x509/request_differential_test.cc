// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Requests against OpenSSL's own reading: whatever is accepted here, OpenSSL accepts with the same
// key, the same names and a valid signature.

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/hex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/seeded_random.h"
#include "tests/support/status_matchers.h"
#include "tests/x509/golden.h"
#include "tests/x509/request_by_openssl.h"
#include "x509/certificate_request.h"
#include "x509/der.h"

namespace linchpin::x509 {
namespace {

using ::testing::ElementsAre;

std::string Hex(absl::string_view hex) { return base::BytesOfHex(hex).value(); }

// True if it is accepted.
bool IsAcceptedOnlyAsOpenSslReadsIt(const std::string& der) {
  const auto request = CertificateRequest::FromDer(der);
  if (!request.ok()) return false;
  EXPECT_EQ(test::DifferenceFromOpenSsl(der, *request), "") << absl::BytesToHexString(der);
  return true;
}

const char* const kSeeds[] = {"request-plain.der",    "request-p384.der",
                              "request-san.der",      "request-foreign.der",
                              "request-ca.der",       "request-sign.der",
                              "../requests/go.der",   "../requests/go-p384.der",
                              "../requests/java.der", "../requests/python.der"};

TEST(RequestsOfOthers, AreReadAsOpenSslReadsThem) {
  for (const char* name : kSeeds) {
    EXPECT_TRUE(IsAcceptedOnlyAsOpenSslReadsIt(GoldenFile(name))) << name;
  }
  for (const char* name : {"go", "java"}) {
    ASSERT_OK_AND_ASSIGN(
        const auto request,
        CertificateRequest::FromDer(GoldenFile(absl::StrCat("../requests/", name, ".der"))));
    EXPECT_THAT(request.uri_sans(), ElementsAre("spiffe://example.org/web")) << name;
    EXPECT_THAT(request.dns_sans(), ElementsAre("web.example.org")) << name;
    EXPECT_FALSE(request.asks_for_ca() || request.asks_for_other_sans()) << name;
  }
}

// Requests whose possession is proved, whatever else is in them.
class Requester {
 public:
  // What the request of that name asks for, for a key of ours.
  std::string InfoLike(const std::string& name) {
    const std::string request = GoldenFile(name);
    key_ =
        &(CertificateRequest::FromDer(request)->public_key().spki().size() < 100 ? p256_ : p384_);
    der::Reader parts(der::Reader(request).Next()->body);
    std::string info(parts.Next()->whole);
    const std::string& spki = key_->public_key().spki();
    const std::string theirs = CertificateRequest::FromDer(request)->public_key().spki();
    return info.replace(info.find(theirs), theirs.size(), spki);
  }
  std::string Sign(absl::string_view info) const {
    const bool p256 = key_ == &p256_;
    const std::string algorithm =
        Hex(p256 ? "300a06082a8648ce3d040302" : "300a06082a8648ce3d040303");
    const std::string signature =
        der::Write(der::kBitString, {std::string(1, '\0'), *key_->Sign(info)});
    return der::Write(der::kSequence, {info, algorithm, signature});
  }
  const PublicKey& key() const { return key_->public_key(); }

 private:
  const PrivateKey p256_ = *PrivateKey::Generate(KeyType::kP256);
  const PrivateKey p384_ = *PrivateKey::Generate(KeyType::kP384);
  const PrivateKey* key_ = &p256_;
};

TEST(RequestsOfOthers, AreReadAsOpenSslReadsThemWhenTheirMakerErrs) {
  Requester requester;
  test::SeededRandom random(1);
  size_t accepted = 0, refused = 0;
  for (const char* name : kSeeds) {
    const std::string good = requester.InfoLike(name);
    ASSERT_TRUE(IsAcceptedOnlyAsOpenSslReadsIt(requester.Sign(good))) << name;
    for (int round = 0; round < 300; ++round) {
      std::string info = good;
      for (uint64_t edits = 1 + random.Below(2); edits > 0; --edits) {
        const size_t at = random.Below(info.size());
        if (random.OneIn(4)) {
          info[at] = static_cast<char>(random.Next());
        } else {
          info[at] ^= static_cast<char>(1 << random.Below(8));
        }
      }
      ++(IsAcceptedOnlyAsOpenSslReadsIt(requester.Sign(info)) ? accepted : refused);
    }
  }
  EXPECT_GT(accepted, 300u);
  EXPECT_GT(refused, 1000u);
}

TEST(CertificateRequest, RefusesWhatIsNotStrictlyARequest) {
  Requester requester;
  const std::string good = requester.InfoLike("request-plain.der");
  const std::string& key = requester.key().spki();
  const std::string version = Hex("020100");
  const std::string nobody = Hex("3000");
  const auto info = [](std::initializer_list<absl::string_view> parts) {
    return der::Write(der::kSequence, parts);
  };
  // RFC 2986 has attributes always there; some tools leave them out.
  EXPECT_TRUE(IsAcceptedOnlyAsOpenSslReadsIt(requester.Sign(info({version, nobody, key}))));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"another version", info({Hex("020101"), nobody, key})},
      {"no version", info({nobody, key})},
      {"no subject", info({version, key})},
      {"no key", info({version, nobody})},
      {"a subject that is none", info({version, Hex("3003020100"), key})},
      {"attributes under another tag", info({version, nobody, key, Hex("a100")})},
      {"something after the attributes", info({version, nobody, key, Hex("a0000500")})},
      {"an attribute that is none", info({version, nobody, key, Hex("a0020500")})},
      {"an attribute without a type", info({version, nobody, key, Hex("a0023000")})},
      {"attributes of indefinite length", info({version, nobody, key, Hex("a0800000")})},
  };
  for (const auto& [what, bad] : cases) {
    EXPECT_THAT(CertificateRequest::FromDer(requester.Sign(bad)),
                test::StatusIs(absl::StatusCode::kInvalidArgument))
        << what;
  }
  std::string unused_bits = requester.Sign(good);
  const size_t bits = unused_bits.rfind(Hex("0030"));
  unused_bits[bits] = 1;
  EXPECT_THAT(CertificateRequest::FromDer(unused_bits),
              test::StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace linchpin::x509
