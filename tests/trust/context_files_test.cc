// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/context_files.h"

#include <map>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"
#include "trust/trust_codec.h"

namespace linchpin::trust {
namespace {

using test::kNow;
using test::StatusIs;
using test::TestAuthority;
using test::TwinOf;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

class ContextFilesTest : public testing::Test {
 protected:
  ContextFilesTest() {
    for (const char* path : {"/web", "/api"}) {
      const auto context = test::ContextOf({authority_.State()},
                                           {test::Rule(Id("/web"), Id("/db"))}, path, authority_);
      *contexts_.add_identities() = EncodeIdentity(*context, path);
    }
    *contexts_.add_trust_domains() = EncodeTrustState(*authority_.State());
    contexts_.mutable_trust_domains(0)->add_twins(TwinOf(authority_.active()).der());
  }
  std::string Id(const std::string& path) const { return authority_.Id(path).ToString(); }
  std::map<std::string, std::string> Render(const std::string& id = "",
                                            BundleKind kind = BundleKind::kPinned) const {
    const absl::StatusOr<ContextFiles> rendered = RenderContextFiles(contexts_, id, kind, kNow);
    EXPECT_OK(rendered);
    std::map<std::string, std::string> files;
    for (const ContextFile& file : rendered->files) {
      files[file.name] = std::string(file.contents.Reveal());
      EXPECT_EQ(file.secret, absl::StrContains(files[file.name], "PRIVATE KEY")) << file.name;
    }
    return files;
  }
  TestAuthority authority_;
  agent::v1::MtlsContexts contexts_;
};

TEST_F(ContextFilesTest, AreTheChainTheKeyTheBundleTrustAndPeers) {
  auto files = Render();
  EXPECT_THAT(files, SizeIs(6));
  const x509::Chain chain = *x509::ParsePemChain(files["chain.pem"], 8);
  EXPECT_EQ(chain.front().der(), contexts_.identities(0).chain(0));
  EXPECT_EQ(files["combined.pem"], files["key.pem"] + files["chain.pem"]);
  const auto key = *x509::PrivateKey::FromPem(x509::SecretBytes(files["key.pem"]));
  EXPECT_TRUE(key.public_key() == chain.front().public_key());
  EXPECT_THAT(files["trust.json"], HasSubstr("\"privateKey\": \"\""));
  EXPECT_THAT(files["trust.json"], HasSubstr(Id("/web")));
  EXPECT_THAT(files["trust.json"], Not(HasSubstr(Id("/api"))));
  EXPECT_THAT(files["peers.json"], HasSubstr(Id("/db")));
}

TEST_F(ContextFilesTest, TheBundleIsOfTwinsOrOfRoots) {
  EXPECT_EQ(Render()["bundle.pem"], TwinOf(authority_.active()).ToPem());
  EXPECT_EQ(Render("", BundleKind::kRoots)["bundle.pem"], authority_.root().certificate.ToPem());
}

TEST_F(ContextFilesTest, WhereNobodyCanBeAcceptedTheBundleSaysWhyAndCanBeLoaded) {
  contexts_.mutable_trust_domains(0)->clear_twins();
  const std::string nobody = x509::Certificate::FromDer(NobodysAnchor())->ToPem();
  EXPECT_THAT(Render()["bundle.pem"],
              AllOf(StartsWith("# the pinned bundle of example.org accepts nobody"),
                    EndsWith("\n" + nobody)));
}

TEST_F(ContextFilesTest, AreOfTheIdentityThatIsNamed) {
  EXPECT_THAT(Render(Id("/api"))["peers.json"], HasSubstr(Id("/api")));
  EXPECT_THAT(RenderContextFiles(contexts_, Id("/none"), BundleKind::kPinned, kNow),
              StatusIs(absl::StatusCode::kNotFound, "/none"));
}

TEST_F(ContextFilesTest, AKeyOfAnotherCertificateIsNotWritten) {
  contexts_.mutable_identities(0)->set_private_key(contexts_.identities(1).private_key());
  EXPECT_THAT(RenderContextFiles(contexts_, "", BundleKind::kPinned, kNow),
              StatusIs(absl::StatusCode::kDataLoss, "key"));
  contexts_.clear_trust_domains();
  EXPECT_THAT(RenderContextFiles(contexts_, "", BundleKind::kPinned, kNow),
              StatusIs(absl::StatusCode::kDataLoss, "no bundle"));
}

}  // namespace
}  // namespace linchpin::trust
