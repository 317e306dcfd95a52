// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/leaf_template.h"

#include <openssl/x509.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/seeded_random.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/x509/golden.h"
#include "x509/digest.h"
#include "x509/path.h"

namespace linchpin::x509 {
namespace {

using ::linchpin::test::SeededRandom;
using ::linchpin::test::StatusIs;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

PrivateKey NewKey(KeyType type = KeyType::kP256) { return PrivateKey::Generate(type).value(); }

CertificateSpec CaSpec(const std::string& name) {
  CertificateSpec spec;
  spec.organization = "Example";
  spec.common_name = name;
  spec.serial = std::string("\x01\x02", 2);
  spec.not_before = GoldenNow() - absl::Hours(1);
  spec.not_after = GoldenNow() + absl::Hours(24 * 365 * 40);  // past 2050
  spec.is_ca = spec.key_cert_sign = spec.crl_sign = true;
  return spec;
}

CertificateSpec LeafSpec() {
  CertificateSpec spec;
  spec.serial = std::string(16, '\x41');
  spec.not_before = GoldenNow() - absl::Minutes(1);
  spec.not_after = GoldenNow() + absl::Hours(1);
  spec.digital_signature = spec.server_auth = spec.client_auth = true;
  spec.uri_sans = {"spiffe://example.org/web"};
  return spec;
}

struct Authority {
  explicit Authority(KeyType type) : issuer_key(NewKey(type)) {}
  PrivateKey root_key = NewKey(KeyType::kP384);
  PrivateKey issuer_key;
  Certificate root = SelfSign(CaSpec("root"), root_key).value();
  Certificate issuer =
      SignCertificate(CaSpec("issuer"), issuer_key.public_key(), root, root_key).value();
  LeafTemplate leaves = LeafTemplate::Make(issuer, issuer_key).value();
};

std::string TbsOf(const Certificate& certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_re_X509_tbs(certificate.x509(), &der);
  std::string tbs(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return tbs;
}

// Specs at the edges of every length and time that DER writes in another way.
class AnySpec {
 public:
  CertificateSpec Next(const Certificate& issuer) {
    CertificateSpec spec = LeafSpec();
    spec.serial.resize(1 + random_.Below(20));
    random_.Fill(spec.serial.data(), spec.serial.size());
    spec.serial[0] = static_cast<char>(random_.Below(127) + 1);
    if (spec.serial.size() < 20 && random_.OneIn(2)) spec.serial[0] |= '\x80';
    const absl::Time edge = absl::FromCivil(absl::CivilYear(2050), absl::UTCTimeZone());
    spec.not_before = random_.OneIn(3)
                          ? edge + absl::Seconds(random_.Below(5)) - absl::Seconds(3)
                          : GoldenNow() + absl::Seconds(random_.Below(uint64_t{86400} * 365 * 20));
    spec.not_after = std::min(spec.not_before + absl::Seconds(1 + random_.Below(86400 * 90)),
                              issuer.fields().not_after);
    if (random_.OneIn(3)) spec.not_after = std::max(edge, spec.not_before + absl::Seconds(1));
    spec.uri_sans.clear();
    spec.dns_sans.clear();
    for (uint64_t i = random_.Below(3); i > 0; --i) {
      spec.uri_sans.push_back(absl::StrCat("spiffe://example.org/", Name(300)));
    }
    for (uint64_t i = random_.Below(random_.OneIn(4) ? 60 : 3); i > 0; --i) {
      spec.dns_sans.push_back(absl::StrCat(Name(63), ".example.org"));
    }
    if (spec.uri_sans.empty() && spec.dns_sans.empty()) spec.dns_sans = {"one.example.org"};
    return spec;
  }

 private:
  std::string Name(uint64_t most) { return std::string(1 + random_.Below(most), 'n'); }
  SeededRandom random_{1};
};

class LeafTemplates : public testing::TestWithParam<KeyType> {};
INSTANTIATE_TEST_SUITE_P(Curves, LeafTemplates, testing::Values(KeyType::kP256, KeyType::kP384),
                         [](const auto& of) {
                           return of.param == KeyType::kP256 ? "P256" : "P384";
                         });

TEST_P(LeafTemplates, SignWhatSignCertificateSigns) {
  const Authority authority(GetParam());
  const std::vector<PrivateKey> keys = {NewKey(), NewKey(KeyType::kP384)};
  AnySpec specs;
  for (size_t i = 0; i < 200; ++i) {
    const CertificateSpec spec = specs.Next(authority.issuer);
    const PublicKey& key = keys[i % 2].public_key();
    ASSERT_OK_AND_ASSIGN(const SignedLeaf leaf, authority.leaves.Sign(spec, key));
    ASSERT_OK_AND_ASSIGN(const Certificate read, Certificate::FromDer(leaf.der));
    ASSERT_OK_AND_ASSIGN(const Certificate reference,
                         SignCertificate(spec, key, authority.issuer, authority.issuer_key));
    ASSERT_EQ(TbsOf(read), TbsOf(reference)) << i;
    EXPECT_EQ(leaf.sha256, Sha256(leaf.der));
    const Chain chain = {read, authority.issuer};
    const PathResult path =
        ValidatePath({chain, {authority.root}, {}, spec.not_before, absl::ZeroDuration()});
    EXPECT_TRUE(path.ok()) << path.detail;
  }
}

TEST_P(LeafTemplates, PassTheOpensslProgramStrictly) {
  const Authority authority(GetParam());
  const test::TempDir dir;
  WriteText(dir.Join("root.pem"), authority.root.ToPem());
  WriteText(dir.Join("issuer.pem"), authority.issuer.ToPem());
  const PrivateKey key = NewKey();
  AnySpec specs;
  std::string files;
  for (int i = 0; i < 100; ++i) {
    ASSERT_OK_AND_ASSIGN(const SignedLeaf leaf,
                         authority.leaves.Sign(specs.Next(authority.issuer), key.public_key()));
    ASSERT_OK_AND_ASSIGN(const Certificate read, Certificate::FromDer(leaf.der));
    const std::string file = dir.Join(absl::StrCat(i, ".pem"));
    WriteText(file, read.ToPem());
    absl::StrAppend(&files, " ", file);
  }
  const ProgramResult result = RunOpenSsl(absl::StrCat(
      "verify -x509_strict -auth_level 2 -no_check_time -purpose sslserver -no-CApath -no-CAstore",
      " -CAfile ", dir.Join("root.pem"), " -untrusted ", dir.Join("issuer.pem"), files));
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

TEST(LeafTemplate, RefusesWhatSignCertificateRefuses) {
  const Authority authority(KeyType::kP256);
  const PublicKey key = NewKey().public_key();
  std::vector<CertificateSpec> bad;
  const auto add = [&bad] { return &bad.emplace_back(LeafSpec()); };
  add()->serial = "";
  add()->serial = std::string("\0\1", 2);
  add()->serial = std::string(20, '\x80');
  add()->serial = std::string(21, '\1');
  add()->not_after = LeafSpec().not_before;
  add()->not_before += absl::Milliseconds(1);
  add()->not_before = absl::FromUnixSeconds(-1);
  add()->not_after = authority.issuer.fields().not_after + absl::Seconds(1);
  add()->uri_sans.clear();
  add()->uri_sans = {""};
  add()->uri_sans = {"spiffe://example.org/w eb"};
  add()->uri_sans = {std::string("spiffe://example.org/web\0", 25)};
  add()->uri_sans = {std::string(2049, 'u')};
  add()->dns_sans = {"web.example.org\n"};
  add()->dns_sans = std::vector<std::string>(100, std::string(200, 'd'));
  for (size_t i = 0; i < bad.size(); ++i) {
    EXPECT_THAT(authority.leaves.Sign(bad[i], key), StatusIs(kInvalid)) << i;
    EXPECT_THAT(SignCertificate(bad[i], key, authority.issuer, authority.issuer_key),
                StatusIs(kInvalid))
        << i;
  }
}

TEST(LeafTemplate, RefusesWhatIsNoSuchLeaf) {
  const Authority authority(KeyType::kP256);
  std::vector<CertificateSpec> bad;
  const auto add = [&bad] { return &bad.emplace_back(LeafSpec()); };
  add()->organization = "Example";
  add()->common_name = "web";
  add()->digital_signature = false;
  add()->server_auth = false;
  add()->client_auth = false;
  add()->crl_sign = true;
  add()->key_cert_sign = true;
  add()->path_length = 0;
  bad.push_back(CaSpec("issuer 2"));
  for (size_t i = 0; i < bad.size(); ++i) {
    EXPECT_THAT(authority.leaves.Sign(bad[i], NewKey().public_key()),
                StatusIs(kInvalid, HasSubstr("expected an empty subject")))
        << i;
  }
  const PublicKey rsa = Golden("leaf-rsa2048").public_key();
  EXPECT_THAT(authority.leaves.Sign(LeafSpec(), rsa),
              StatusIs(kInvalid, HasSubstr("expected P-256 or P-384")));
}

TEST(LeafTemplate, IsOfAnIssuerWithItsOwnKeyOnly) {
  const Authority authority(KeyType::kP256);
  EXPECT_EQ(authority.leaves.issuer(), authority.issuer);
  EXPECT_THAT(LeafTemplate::Make(authority.issuer, NewKey()),
              StatusIs(kInvalid, HasSubstr("not that of the issuer")));
  EXPECT_THAT(LeafTemplate::Make(Golden("leaf"), NewKey()), StatusIs(kInvalid));
}

}  // namespace
}  // namespace linchpin::x509
