// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/certificate_builder.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/x509/golden.h"
#include "x509/path.h"

namespace linchpin::x509 {
namespace {

using ::linchpin::test::StatusIs;
using ::linchpin::test::TempDir;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

CertificateSpec RootSpec() {
  CertificateSpec spec;
  spec.organization = "Example";
  spec.common_name = "root";
  spec.serial = std::string("\x01\x02", 2);
  spec.not_before = GoldenNow() - absl::Hours(1);
  spec.not_after = GoldenNow() + absl::Hours(24 * 3650);
  spec.is_ca = spec.key_cert_sign = spec.crl_sign = true;
  return spec;
}

CertificateSpec IssuerSpec() {
  CertificateSpec spec = RootSpec();
  spec.common_name = "issuer 1";
  spec.path_length = 0;
  spec.uri_sans = {"spiffe://example.org"};
  spec.not_after = GoldenNow() + absl::Hours(24 * 90);
  return spec;
}

CertificateSpec LeafSpec() {
  CertificateSpec spec;
  spec.serial = std::string(1, '\x7f') + std::string(19, '\xff');
  spec.not_before = GoldenNow() - absl::Minutes(1);
  spec.not_after = GoldenNow() + absl::Hours(1);
  spec.digital_signature = spec.server_auth = spec.client_auth = true;
  spec.uri_sans = {"spiffe://example.org/web"};
  return spec;
}

PrivateKey NewKey(KeyType type = KeyType::kP256) { return PrivateKey::Generate(type).value(); }

struct Authority {
  PrivateKey root_key = NewKey(KeyType::kP384);
  PrivateKey issuer_key = NewKey();
  Certificate root = SelfSign(RootSpec(), root_key).value();
  Certificate issuer =
      SignCertificate(IssuerSpec(), issuer_key.public_key(), root, root_key).value();

  Certificate Leaf(const CertificateSpec& spec = LeafSpec()) const {
    return SignCertificate(spec, NewKey().public_key(), issuer, issuer_key).value();
  }
};

ProgramResult OpenSslVerify(const Certificate& anchor, const Chain& untrusted,
                            const Certificate& leaf) {
  TempDir dir;
  WriteText(dir.Join("anchor.pem"), anchor.ToPem());
  WriteText(dir.Join("untrusted.pem"), ToPem(untrusted));
  WriteText(dir.Join("leaf.pem"), leaf.ToPem());
  const std::string with =
      untrusted.empty() ? "" : absl::StrCat(" -untrusted ", dir.Join("untrusted.pem"));
  return RunOpenSsl(absl::StrCat("verify -x509_strict -auth_level 2 -attime ",
                                 absl::ToUnixSeconds(GoldenNow()), " -no-CApath -no-CAstore",
                                 " -CAfile ", dir.Join("anchor.pem"), with, " ",
                                 dir.Join("leaf.pem")));
}

TEST(SignCertificate, MakesExactlyWhatItIsTold) {
  const Authority authority;
  const CertificateFields leaf = authority.Leaf().fields();
  EXPECT_EQ(leaf.subject, "");
  EXPECT_TRUE(leaf.san_critical);
  EXPECT_TRUE(leaf.has_basic_constraints && !leaf.is_ca);
  EXPECT_TRUE(leaf.key_usage_critical && leaf.digital_signature && !leaf.key_cert_sign);
  EXPECT_TRUE(leaf.server_auth && leaf.client_auth);
  EXPECT_EQ(leaf.serial, LeafSpec().serial);
  EXPECT_EQ(leaf.not_before, LeafSpec().not_before);
  EXPECT_EQ(leaf.not_after, LeafSpec().not_after);
  EXPECT_EQ(leaf.authority_key_id, authority.issuer.fields().subject_key_id);
  EXPECT_THAT(leaf.uri_sans, ::testing::ElementsAre("spiffe://example.org/web"));
  const CertificateFields& issuer = authority.issuer.fields();
  EXPECT_EQ(issuer.subject, "CN=issuer 1,O=Example");
  EXPECT_TRUE(issuer.is_ca && issuer.key_cert_sign && issuer.crl_sign && !issuer.san_critical);
  EXPECT_EQ(issuer.path_length, 0);
  EXPECT_FALSE(issuer.has_extended_key_usage);
  EXPECT_TRUE(authority.root.IsSelfIssued());
}

TEST(SignCertificate, PassesTheOpensslProgramStrictly) {
  const Authority authority;
  CertificateSpec named = LeafSpec();
  named.common_name = "web";
  named.dns_sans = {"web.example.org"};
  for (const CertificateSpec& spec : {LeafSpec(), named}) {
    const Certificate leaf = authority.Leaf(spec);
    const ProgramResult result = OpenSslVerify(authority.root, {authority.issuer}, leaf);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    const Chain chain = {leaf, authority.issuer};
    const Chain anchors = {authority.root};
    const PathResult path = ValidatePath({chain, anchors, {}, GoldenNow(), {}});
    EXPECT_TRUE(path.ok()) << path.detail;
  }
}

TEST(SignCertificate, WritesDatesAfter2049AsGeneralizedTime) {
  const PrivateKey key = NewKey();
  CertificateSpec spec = RootSpec();
  spec.not_after = absl::FromCivil(absl::CivilSecond(2060, 1, 2, 3, 4, 5), absl::UTCTimeZone());
  ASSERT_OK_AND_ASSIGN(const Certificate root, SelfSign(spec, key));
  EXPECT_EQ(root.fields().not_after, spec.not_after);
  EXPECT_THAT(root.der(), HasSubstr("20600102030405Z"));
}

TEST(SignCertificate, RefusesASpecThatIsInconsistent) {
  const Authority authority;
  const PublicKey key = NewKey().public_key();
  const struct {
    const char* what;
    void (*break_it)(CertificateSpec*);
  } cases[] = {
      {"serial", [](CertificateSpec* s) { s->serial = ""; }},
      {"serial", [](CertificateSpec* s) { s->serial = std::string(1, '\0'); }},
      {"serial", [](CertificateSpec* s) { s->serial = std::string(20, '\xff'); }},
      {"serial", [](CertificateSpec* s) { s->serial = std::string(21, '\x01'); }},
      {"validity", [](CertificateSpec* s) { s->not_after = s->not_before; }},
      {"validity", [](CertificateSpec* s) { s->not_before += absl::Milliseconds(1); }},
      {"validity", [](CertificateSpec* s) { s->not_before = absl::InfinitePast(); }},
      {"after its issuer", [](CertificateSpec* s) { s->not_after = absl::InfiniteFuture(); }},
      {"after its issuer", [](CertificateSpec* s) { s->not_after += absl::Hours(24 * 90); }},
      {"key_cert_sign", [](CertificateSpec* s) { s->is_ca = true; }},
      {"key_cert_sign", [](CertificateSpec* s) { s->key_cert_sign = true; }},
      {"path length", [](CertificateSpec* s) { s->path_length = 0; }},
      {"key usage", [](CertificateSpec* s) { s->digital_signature = false; }},
      {"nobody", [](CertificateSpec* s) { s->uri_sans = {}; }},
      {"printable", [](CertificateSpec* s) { s->uri_sans = {""}; }},
      {"printable", [](CertificateSpec* s) { s->dns_sans = {std::string("a\0b", 3)}; }},
      {"64 characters", [](CertificateSpec* s) { s->common_name = std::string(65, 'x'); }},
      {"UTF-8", [](CertificateSpec* s) { s->common_name = "\xff\xfe"; }},
  };
  for (const auto& c : cases) {
    CertificateSpec spec = LeafSpec();
    c.break_it(&spec);
    EXPECT_THAT(SignCertificate(spec, key, authority.issuer, authority.issuer_key),
                StatusIs(kInvalid, HasSubstr(c.what)));
  }
}

TEST(SignCertificate, RefusesAKeyThatIsNotTheIssuers) {
  const Authority authority;
  EXPECT_THAT(SignCertificate(LeafSpec(), NewKey().public_key(), authority.issuer, NewKey()),
              StatusIs(kInvalid, HasSubstr("not that of the issuer")));
}

TEST(SignCertificate, RefusesToCertifyAWeakKey) {
  const Authority authority;
  ASSERT_OK_AND_ASSIGN(const PublicKey weak, PublicKey::FromSpki(GoldenFile("public-rsa1024.der")));
  EXPECT_THAT(SignCertificate(LeafSpec(), weak, authority.issuer, authority.issuer_key),
              StatusIs(kInvalid, HasSubstr("RSA of 1024 bits")));
}

TEST(SignCertificate, CertifiesAForeignStrongKey) {
  const Authority authority;
  const PublicKey rsa = Golden("leaf-rsa2048").public_key();
  ASSERT_OK_AND_ASSIGN(const Certificate leaf,
                       SignCertificate(LeafSpec(), rsa, authority.issuer, authority.issuer_key));
  EXPECT_TRUE(leaf.public_key() == rsa);
  EXPECT_EQ(leaf.fields().subject_key_id, Golden("leaf-rsa2048").fields().subject_key_id);
}

TEST(MakeTwin, AnchorsAnyPkixClientAtTheIssuer) {
  const Authority authority;
  ASSERT_OK_AND_ASSIGN(const Certificate twin,
                       MakeTwin(authority.issuer, authority.issuer_key, "\x05"));
  EXPECT_TRUE(IsTwinOf(twin, authority.issuer));
  const Certificate leaf = authority.Leaf();
  ProgramResult result = OpenSslVerify(twin, {authority.issuer}, leaf);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  result = OpenSslVerify(twin, {}, leaf);
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

// Under the true root, and even with the issuer's own name.
TEST(MakeTwin, RefusesRogueIntermediates) {
  const Authority authority;
  ASSERT_OK_AND_ASSIGN(const Certificate twin,
                       MakeTwin(authority.issuer, authority.issuer_key, "\x05"));
  for (const char* name : {"rogue", "issuer 1"}) {
    CertificateSpec spec = IssuerSpec();
    spec.common_name = name;
    const PrivateKey rogue_key = NewKey();
    ASSERT_OK_AND_ASSIGN(
        const Certificate rogue,
        SignCertificate(spec, rogue_key.public_key(), authority.root, authority.root_key));
    ASSERT_OK_AND_ASSIGN(const Certificate leaf,
                         SignCertificate(LeafSpec(), NewKey().public_key(), rogue, rogue_key));
    EXPECT_EQ(OpenSslVerify(authority.root, {rogue}, leaf).exit_code, 0) << name;
    EXPECT_NE(OpenSslVerify(twin, {rogue}, leaf).exit_code, 0) << name;
  }
}

TEST(MakeTwin, CopiesConstraints) {
  const Certificate constrained = Golden("constrained");
  EXPECT_FALSE(IsTwinOf(Golden("root"), constrained));
  ASSERT_OK_AND_ASSIGN(const PrivateKey key,
                       PrivateKey::FromPkcs8(SecretBytes(GoldenFile("key-constrained.der"))));
  ASSERT_OK_AND_ASSIGN(const Certificate twin, MakeTwin(constrained, key, "\x05"));
  EXPECT_TRUE(IsTwinOf(twin, constrained));
  EXPECT_EQ(OpenSslVerify(twin, {}, Golden("leaf-permitted")).exit_code, 0);
  EXPECT_NE(OpenSslVerify(twin, {}, Golden("leaf-excluded")).exit_code, 0);
  const Chain anchors = {twin};
  const Chain excluded = {Golden("leaf-excluded")};
  EXPECT_EQ(ValidatePath({excluded, anchors, {}, GoldenNow(), {}}).error,
            PathError::kNameConstraint);
  EXPECT_THAT(MakeTwin(constrained, NewKey(), "\x05"), StatusIs(kInvalid, HasSubstr("own key")));
}

TEST(MakeTwin, IsMadeOfIssuersOnly) {
  const Authority authority;
  const PrivateKey key = NewKey();
  ASSERT_OK_AND_ASSIGN(
      const Certificate leaf,
      SignCertificate(LeafSpec(), key.public_key(), authority.issuer, authority.issuer_key));
  EXPECT_THAT(MakeTwin(leaf, key, "\x05"), StatusIs(kInvalid, HasSubstr("made of an issuer")));
  EXPECT_THAT(MakeTwin(authority.issuer, authority.issuer_key, ""),
              StatusIs(kInvalid, HasSubstr("serial")));
}

TEST(IsTwinOf, KnowsTheOneMadeByTheOpensslProgram) {
  EXPECT_TRUE(IsTwinOf(Golden("twin"), Golden("issuer")));
  EXPECT_FALSE(IsTwinOf(Golden("issuer"), Golden("issuer")));
  EXPECT_FALSE(IsTwinOf(Golden("twin"), Golden("issuer-expired")));
  EXPECT_FALSE(IsTwinOf(Golden("namesake"), Golden("issuer")));
  EXPECT_FALSE(IsTwinOf(Golden("root"), Golden("issuer")));
}

TEST(IsTwinOf, RefusesATwinThatDiffersInAnything) {
  const Authority authority;
  const struct {
    const char* what;
    void (*change)(CertificateSpec*);
  } cases[] = {
      {"path length", [](CertificateSpec* s) { s->path_length.reset(); }},
      {"end", [](CertificateSpec* s) { s->not_after += absl::Seconds(1); }},
      {"name", [](CertificateSpec* s) { s->common_name = "issuer 2"; }},
      {"names", [](CertificateSpec* s) { s->uri_sans = {"spiffe://elsewhere.test"}; }},
      {"usage", [](CertificateSpec* s) { s->crl_sign = false; }},
      {"extended usage", [](CertificateSpec* s) { s->server_auth = true; }},
  };
  for (const auto& c : cases) {
    CertificateSpec spec = IssuerSpec();
    c.change(&spec);
    ASSERT_OK_AND_ASSIGN(const Certificate twin, SelfSign(spec, authority.issuer_key));
    EXPECT_FALSE(IsTwinOf(twin, authority.issuer)) << c.what;
  }
  ASSERT_OK_AND_ASSIGN(const Certificate same, SelfSign(IssuerSpec(), authority.issuer_key));
  EXPECT_TRUE(IsTwinOf(same, authority.issuer));
  std::string der = same.der();
  der.back() = static_cast<char>(der.back() ^ 1);
  ASSERT_OK_AND_ASSIGN(const Certificate unsigned_twin, Certificate::FromDer(der));
  EXPECT_FALSE(IsTwinOf(unsigned_twin, authority.issuer));
}

}  // namespace
}  // namespace linchpin::x509
