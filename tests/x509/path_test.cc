// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/path.h"

#include <openssl/err.h>

#include <atomic>
#include <map>
#include <optional>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/x509/golden.h"
#include "x509/certificate_builder.h"
#include "x509/certificate_request.h"

namespace linchpin::x509 {
namespace {

using ::testing::HasSubstr;

Chain Certificates(const std::vector<std::string>& names) {
  Chain chain;
  for (const std::string& name : names) chain.push_back(Golden(name));
  return chain;
}

struct Names {
  std::vector<std::string> chain;
  std::vector<std::string> anchors = {"root"};
  std::vector<std::string> candidates;
};

PathResult Validate(const Names& names, absl::Time now = GoldenNow(),
                    absl::Duration skew = absl::ZeroDuration()) {
  const Chain chain = Certificates(names.chain);
  const Chain anchors = Certificates(names.anchors);
  const Chain candidates = Certificates(names.candidates);
  return ValidatePath({chain, anchors, candidates, now, skew});
}

std::vector<std::string> Serials(const Chain& chain) {
  std::vector<std::string> serials;
  for (const Certificate& certificate : chain) {
    serials.push_back(SerialText(certificate.fields().serial));
  }
  return serials;
}

TEST(ValidatePath, ReturnsThePathLeafFirst) {
  const PathResult result = Validate({{"leaf", "issuer"}});
  ASSERT_TRUE(result.ok()) << result.detail;
  EXPECT_EQ(result.path, Certificates({"leaf", "issuer", "root"}));
}

// Four names alike, and key ids alike: only the signatures say in which order the two CAs between
// leaf and root come. `sent` signed the leaf, `known` signed `sent`.
struct Namesakes {
  explicit Namesakes(const test::TempDir& dir) {
    WriteText(dir.Join("req.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n");
    const std::string ca =
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
        "subjectKeyIdentifier=01020304\n";
    WriteText(dir.Join("root.ext"), ca);
    WriteText(dir.Join("ca.ext"), ca + "authorityKeyIdentifier=keyid:always\n");
    WriteText(dir.Join("leaf.ext"),
              "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
              "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n"
              "subjectAltName=URI:spiffe://example.org/web\n");
    Make(dir, "root", "EC -pkeyopt ec_paramgen_curve:P-256", "N", "root", "");
    Make(dir, "known", "ED25519", "N", "ca", "root");
    Make(dir, "sent", "RSA -pkeyopt rsa_keygen_bits:2048", "N", "ca", "known");
    Make(dir, "leaf", "EC -pkeyopt ec_paramgen_curve:P-256", "leaf", "leaf", "sent");
  }

  std::map<std::string, std::optional<Certificate>> made;

 private:
  void Make(const test::TempDir& dir, const std::string& name, const std::string& algorithm,
            const std::string& subject, const std::string& profile, const std::string& issuer) {
    const auto file = [&dir](const std::string& of, const char* kind) {
      return dir.Join(absl::StrCat(of, kind));
    };
    const std::string signer = issuer.empty()
                                   ? absl::StrCat(" -signkey ", file(name, ".key"))
                                   : absl::StrCat(" -CA ", file(issuer, ".pem"), " -CAkey ",
                                                  file(issuer, ".key"), " -CAcreateserial");
    for (const std::string& step :
         {absl::StrCat("genpkey -algorithm ", algorithm, " -out ", file(name, ".key")),
          absl::StrCat("req -new -config ", dir.Join("req.cnf"), " -subj /CN=", subject, " -key ",
                       file(name, ".key"), " -out ", file(name, ".csr")),
          absl::StrCat("x509 -req -days 30 -in ", file(name, ".csr"), " -extfile ",
                       file(profile, ".ext"), signer, " -out ", file(name, ".pem"))}) {
      const ProgramResult result = RunOpenSsl(step);
      ASSERT_EQ(result.exit_code, 0) << result.output;
    }
    std::ifstream pem(file(name, ".pem"));
    std::ostringstream text;
    text << pem.rdbuf();
    auto certificate = Certificate::FromPem(text.str());
    ASSERT_TRUE(certificate.ok()) << certificate.status();
    made[name] = *certificate;
  }
};

TEST(ValidatePath, TheOrderOfThePathIsThatOfTheSignatures) {
  const test::TempDir dir;
  Namesakes namesakes(dir);
  const auto at = [&](const char* name) { return *namesakes.made.at(name); };
  const Chain chain = {at("leaf"), at("sent")};
  const Chain anchors = {at("root")};
  const Chain candidates = {at("known")};
  const PathResult result = ValidatePath(
      {chain, anchors, candidates, chain.front().fields().not_before, absl::ZeroDuration()});
  ASSERT_TRUE(result.ok()) << result.detail;
  EXPECT_EQ(result.path, (Chain{at("leaf"), at("sent"), at("known"), at("root")}));
  for (size_t i = 0; i + 1 < result.path.size(); ++i) {
    EXPECT_TRUE(result.path[i].IsSignedBy(result.path[i + 1].public_key())) << i;
  }
}

TEST(ValidatePath, AcceptsWhatIsSoundInOtherShapes) {
  const Names cases[] = {
      {{"leaf"}, {"root"}, {"issuer"}},
      {{"leaf", "issuer", "root"}},
      {{"leaf", "root", "issuer"}},
      {{"leaf", "issuer", "issuer"}},
      {{"leaf", "issuer"}, {"other-root", "root"}},
      {{"leaf", "issuer"}, {"twin"}},
      {{"leaf"}, {"twin"}},
      {{"leaf", "twin", "issuer"}},
      {{"leaf"}, {"root"}, {"twin", "issuer"}},
      {{"leaf", "issuer"}, {"twin", "root"}},
      {{"leaf-of-root"}},
      {{"leaf-permitted", "constrained"}},
      {{"leaf-p384", "issuer"}},
      {{"leaf-ed25519", "issuer"}},
      {{"leaf-rsa2048", "issuer"}},
      {{"leaf-of-namesake", "namesake"}},
  };
  for (const Names& names : cases) {
    const PathResult result = Validate(names);
    EXPECT_TRUE(result.ok()) << ::testing::PrintToString(names.chain) << ": " << result.detail;
  }
}

struct Refusal {
  Names names;
  PathError error;
  size_t depth;
  const char* detail;
};

TEST(ValidatePath, RefusesEachFaultByItsName) {
  const Refusal cases[] = {
      {{{}}, PathError::kNoPath, 0, "no certificate was sent"},
      {{{"leaf"}}, PathError::kNoPath, 0, "issued by CN=issuer 1,O=Example"},
      {{{"leaf", "root"}}, PathError::kNoPath, 0, "neither an anchor"},
      {{{"leaf", "issuer"}, {}}, PathError::kNoPath, 1, "CN=root"},
      {{{"leaf", "twin"}}, PathError::kNoPath, 0, "neither an anchor"},
      {{{"twin"}, {"twin"}}, PathError::kNoPath, 0, "is an anchor"},
      {{{"leaf-expired", "issuer"}}, PathError::kExpired, 0, "expired at 2026-03-01T00:00:00Z"},
      {{{"leaf", "issuer-expired"}}, PathError::kExpired, 1, "2026-06-01T00:00:00Z"},
      {{{"leaf-future", "issuer"}}, PathError::kNotYetValid, 0, "valid from 2026-06-01T00:00:30Z"},
      {{{"leaf-of-leaf", "leaf", "issuer"}}, PathError::kIssuerNotCa, 1, "CN=web"},
      {{{"leaf-of-bare", "leaf-bare", "issuer"}}, PathError::kIssuerNotCa, 1, "CN=bare"},
      {{{"leaf-of-sub", "sub-ca", "issuer"}}, PathError::kPathLength, 2, "CN=issuer 1"},
      {{{"leaf-excluded", "constrained"}}, PathError::kNameConstraint, 0, "CN=web"},
      {{{"leaf-rsa1024", "issuer"}}, PathError::kWeakKey, 0, "CN=web"},
      {{{"leaf-of-rsa1024", "issuer-rsa1024"}}, PathError::kWeakKey, 1, "CN=small"},
      {{{"leaf-explicit", "issuer"}}, PathError::kWeakKey, 0, "CN=web"},
      {{{"leaf-secp256k1", "issuer"}}, PathError::kWeakKey, 0, "found an elliptic curve key"},
      {{{"leaf-sha1", "issuer"}}, PathError::kWeakSignature, 0, "CN=web"},
      {{{"leaf-unknown-critical", "issuer"}}, PathError::kInvalid, 0, "unhandled critical"},
      {{{"leaf-no-key-id", "issuer"}}, PathError::kInvalid, 0, "Authority Key Identifier"},
      {{{"leaf-of-namesake", "issuer"}}, PathError::kBadSignature, 0, "CN=web"},
      {{{"leaf-of-namesake"}, {"twin"}}, PathError::kBadSignature, 0, "CN=web"},
      {{{"leaf-of-namesake", "namesake"}, {"twin"}}, PathError::kBadSignature, 0, "CN=web"},
  };
  for (const Refusal& c : cases) {
    const PathResult result = Validate(c.names);
    const std::string name = ::testing::PrintToString(c.names.chain);
    EXPECT_EQ(result.error, c.error) << name << ": " << result.detail;
    EXPECT_EQ(result.depth, c.depth) << name << ": " << result.detail;
    EXPECT_THAT(result.detail, HasSubstr(c.detail)) << name;
    EXPECT_TRUE(result.path.empty());
  }
}

TEST(ValidatePath, AllowsSkewOnNotBeforeOnly) {
  const Names future = {{"leaf-future", "issuer"}};
  EXPECT_EQ(Validate(future, GoldenNow(), absl::Seconds(29)).error, PathError::kNotYetValid);
  EXPECT_TRUE(Validate(future, GoldenNow(), absl::Seconds(30)).ok());
  EXPECT_TRUE(Validate(future, GoldenNow() + absl::Seconds(30)).ok());
  const Names expired = {{"leaf-expired", "issuer"}};
  const absl::Time end = Golden("leaf-expired").fields().not_after;
  EXPECT_TRUE(Validate(expired, end).ok());
  EXPECT_EQ(Validate(expired, end + absl::Milliseconds(1), absl::Hours(1)).error,
            PathError::kExpired);
}

TEST(ValidatePath, HoldsAnchorsToTheirOwnDates) {
  const absl::Time late = Golden("root").fields().not_after + absl::Seconds(1);
  const PathResult result = Validate({{"leaf", "issuer"}}, late);
  EXPECT_EQ(result.error, PathError::kExpired);
  EXPECT_EQ(result.depth, 2u);
}

TEST(ValidatePath, DoesNotJudgeAnAnchorsOwnSignature) {
  EXPECT_TRUE(Golden("root-sha1").fields().weak_signature);
  const Chain chain = Certificates({"leaf", "issuer"});
  const Chain anchors = Certificates({"root-sha1", "root"});
  EXPECT_TRUE(ValidatePath({chain, anchors, {}, GoldenNow(), {}}).ok());
}

TEST(ValidatePath, NoticesOneChangedBitOfASignature) {
  for (const size_t position : {0u, 1u}) {
    Chain chain = Certificates({"leaf", "issuer"});
    std::string der = chain[position].der();
    der.back() = static_cast<char>(der.back() ^ 1);
    chain[position] = Certificate::FromDer(der).value();
    const Chain anchors = Certificates({"root"});
    const PathResult result = ValidatePath({chain, anchors, {}, GoldenNow(), {}});
    EXPECT_EQ(result.error, PathError::kBadSignature);
    EXPECT_EQ(result.depth, position);
  }
}

// A namesake bears the issuer's name and key id over another key.
TEST(ValidatePath, IsNotLedAstrayByANamesake) {
  const Names cases[] = {
      {{"leaf", "namesake"}, {"root"}, {"issuer"}},
      {{"leaf", "namesake", "issuer"}},
      {{"leaf", "issuer"}, {"root"}, {"namesake"}},
      {{"leaf", "namesake"}, {"twin"}},
  };
  for (const Names& names : cases) {
    const PathResult result = Validate(names);
    ASSERT_TRUE(result.ok()) << ::testing::PrintToString(names.chain) << ": " << result.detail;
    EXPECT_EQ(result.path[1].public_key(), Golden("issuer").public_key());
  }
}

// The same issuer certified by two roots, or twice by one: any of its certificates will do.
TEST(ValidatePath, TriesEveryCertificateOfAnIssuer) {
  const Names cases[] = {
      {{"leaf", "issuer-other-root"}, {"root"}, {"issuer"}},
      {{"leaf", "issuer"}, {"root"}, {"issuer-other-root"}},
      {{"leaf", "issuer-other-root", "issuer-expired", "issuer"}},
      {{"leaf", "issuer"}, {"root"}, {"issuer-expired", "namesake", "issuer-other-root"}},
  };
  for (const Names& names : cases) {
    const PathResult result = Validate(names);
    ASSERT_TRUE(result.ok()) << ::testing::PrintToString(names.chain) << ": " << result.detail;
    EXPECT_EQ(Serials(result.path), Serials(Certificates({"leaf", "issuer", "root"})));
  }
}

TEST(ValidatePath, TellsTheFaultOfThePathThatWasSigned) {
  EXPECT_EQ(Validate({{"leaf-expired", "namesake", "issuer"}}).error, PathError::kExpired);
  EXPECT_EQ(Validate({{"leaf-expired", "issuer", "namesake"}}).error, PathError::kExpired);
}

TEST(ValidatePath, BoundsWhatItLooksAt) {
  const Chain chain(17, Golden("leaf"));
  const Chain anchors = Certificates({"root"});
  EXPECT_EQ(ValidatePath({chain, anchors, {}, GoldenNow(), {}}).error, PathError::kInvalid);
}

CertificateSpec CaSpec(const std::string& name, int serial) {
  CertificateSpec spec;
  spec.common_name = name;
  spec.serial = std::string(1, static_cast<char>(serial + 1));
  spec.not_before = GoldenNow();
  spec.not_after = GoldenNow() + absl::Hours(1);
  spec.is_ca = spec.key_cert_sign = true;
  return spec;
}

TEST(ValidatePath, GoesEightIssuersDeepAndNoDeeper) {
  const PrivateKey key = PrivateKey::Generate(KeyType::kP256).value();
  const Chain anchors = {SelfSign(CaSpec("ca 0", 0), key).value()};
  Chain chain = anchors;  // leaf first
  for (int i = 1; i <= 10; ++i) {
    const CertificateSpec spec = CaSpec(absl::StrCat("ca ", i), i);
    chain.insert(chain.begin(),
                 SignCertificate(spec, key.public_key(), chain.front(), key).value());
    const PathResult result = ValidatePath({chain, anchors, {}, GoldenNow(), {}});
    EXPECT_EQ(result.ok(), i <= 9) << i << ": " << result.detail;
    if (!result.ok()) {
      EXPECT_EQ(result.error, PathError::kNoPath);
    }
  }
}

// Each of them may by its names have issued each other one: without bounds, 15! paths.
TEST(ValidatePath, GivesUpOnAMazeOfNamesakes) {
  const PrivateKey key = PrivateKey::Generate(KeyType::kP256).value();
  const PrivateKey signing = PrivateKey::Generate(KeyType::kP256).value();
  const Certificate above = SelfSign(CaSpec("same", 0), signing).value();
  Chain chain;
  for (int i = 1; i <= 16; ++i) {
    chain.push_back(SignCertificate(CaSpec("same", i), key.public_key(), above, signing).value());
  }
  const Chain anchors = Certificates({"root"});
  EXPECT_EQ(ValidatePath({chain, anchors, {}, GoldenNow(), {}}).error, PathError::kNoPath);
}

TEST(ValidatePath, LeavesOpensslsErrorQueueEmpty) {
  for (const char* name : {"leaf-sha1", "leaf-excluded", "leaf-of-namesake", "leaf-rsa1024"}) {
    EXPECT_FALSE(Validate({{name, "issuer"}}).ok());
    EXPECT_FALSE(Certificate::FromDer(name).ok());
    EXPECT_FALSE(CertificateRequest::FromDer(name).ok());
    EXPECT_FALSE(PublicKey::FromSpki(name).ok());
    EXPECT_FALSE(PrivateKey::FromPem(SecretBytes(name)).ok());
    EXPECT_FALSE(Golden("leaf").IsSignedBy(Golden("root").public_key()));
    EXPECT_FALSE(Golden("leaf").public_key().Verify("data", name).ok());
    EXPECT_EQ(ERR_peek_error(), 0u) << name;
  }
}

TEST(ValidatePath, IsSafeForConcurrentUse) {
  const Chain chain = Certificates({"leaf", "issuer"});
  const Chain anchors = Certificates({"root"});
  std::vector<std::thread> threads;
  std::atomic<int> sound = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const Chain candidates(static_cast<size_t>(i % 2), chain[1]);
      for (int round = 0; round < 50; ++round) {
        if (ValidatePath({chain, anchors, candidates, GoldenNow(), {}}).ok()) ++sound;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sound, 200);
}

}  // namespace
}  // namespace linchpin::x509
