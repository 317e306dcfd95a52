// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Rotations and backups under a root that is kept offline. What is refused of certificates:
// tests/e2e/test_offline_imports.py, with certificates made by openssl.

#include "ca/core/offline_root.h"

#include "ca/core/profile.h"
#include "tests/ca/rotation_world.h"
#include "tests/support/status_matchers.h"
#include "trust/issuer_request.h"
#include "x509/certificate_request.h"

namespace linchpin {
namespace {

using absl::StatusCode;
using Request = ca::v1::RotateRequest;
using test::StatusIs;
using ::testing::HasSubstr;

// The CA's root is the company's from now on: its key is here in the test alone.
struct Offline : test::RotationWorld {
  Offline() : company(keys.at(ca::kRootKeyName)) {
    for (const auto& [key, row] : core->registry().authorities()) {
      if (row.record.key_name() != ca::kRootKeyName) continue;
      state::v1::AuthorityRecord record = row.record;
      root = *x509::Certificate::FromDer(record.certificate());
      record.clear_key_name();
      EXPECT_OK(store.Commit(
          {{.key = key, .value = record.SerializeAsString(), .expected = row.revision}}));
    }
    keys.erase(ca::kRootKeyName);
    options.profile.external_root = true;
    CrashAndRestart();
  }

  ca::v1::AwaitedList Asked() {
    auto list = Admin<ca::v1::AwaitedList>(ca::v1::ListAwaitedRequest());
    EXPECT_OK(list);
    return *list;
  }
  // What the company makes of a request.
  std::string Certified(const ca::v1::AwaitedCertificate& asked) {
    const auto request = x509::CertificateRequest::FromDer(asked.certificate_request());
    EXPECT_OK(request);
    const auto spec = ca::IssuerSpec(options.profile, request->public_key(), *root, now, random);
    return x509::SignCertificate(spec, request->public_key(), *root, company)->der();
  }
  ca::v1::ImportCertificatesRequest AllCertified() {
    ca::v1::ImportCertificatesRequest import;
    const ca::v1::AwaitedList asked = Asked();
    for (const auto& one : asked.certificates()) import.add_certificates(Certified(one));
    return import;
  }
  absl::StatusOr<ca::v1::ImportedCertificates> Import(ca::v1::ImportCertificatesRequest import) {
    auto answer = Admin<ca::v1::ImportedCertificates>(std::move(import));
    Acknowledge();
    return answer;
  }
  std::string RequestOf(const x509::PrivateKey& key) {
    return *trust::MakeIssuerRequest(options.profile.trust_domain, key);
  }
  absl::StatusOr<ca::v1::Authority> AskForBackup(const x509::PrivateKey& key) {
    const std::string der = RequestOf(key);
    return Admin<ca::v1::Authority>(
        ca::CertifyBackup{*x509::CertificateRequest::FromDer(der), der});
  }
  // The root is the CA's own again.
  void BringRootHome() {
    const std::string key = ca::AuthorityKey(true, root->public_key().pin().bytes());
    const auto row = core->registry().authorities().at(key);
    state::v1::AuthorityRecord record = row.record;
    record.set_key_name(ca::kRootKeyName);
    EXPECT_OK(store.Commit(
        {{.key = key, .value = record.SerializeAsString(), .expected = row.revision}}));
    keys.emplace(ca::kRootKeyName, company);
    options.profile.external_root = false;
    CrashAndRestart();
  }
  // A signed pin set, without which no root is rotated; who signed it is no matter here.
  void PutSetInForce() {
    state::v1::TrustRecord trust = core->registry().trust().record;
    trust::v1::PinSet set;
    set.set_version(1);
    trust.add_pin_sets()->set_payload(set.SerializeAsString());
    EXPECT_OK(store.Commit({{.key = ca::kTrustKey,
                             .value = trust.SerializeAsString(),
                             .expected = core->registry().trust().revision}}));
    CrashAndRestart();
  }

  x509::PrivateKey company;
  std::optional<x509::Certificate> root;
};

TEST(OfflineRoot, ARotationOfTheIssuerWaitsForItsCertificatesAndGoesOn) {
  Offline world;
  const std::string old = world.Signer();
  ASSERT_OK(world.Rotate(Request::PREPARE));
  const ca::v1::Rotation waiting = world.Status();
  EXPECT_EQ(waiting.step(), ca::v1::AWAITING_CERTIFICATE);
  EXPECT_EQ(waiting.awaited_size(), 2);
  EXPECT_THAT(waiting.waits_for(), HasSubstr("kept offline"));
  EXPECT_THAT(world.Rotate(Request::DISTRIBUTE).status(),
              StatusIs(StatusCode::kFailedPrecondition, "awaiting_certificate"));
  const std::string asked = world.Asked().SerializeAsString();
  world.CrashAndRestart();
  EXPECT_EQ(world.Asked().SerializeAsString(), asked);
  const auto imported = world.Import(world.AllCertified());
  ASSERT_OK(imported);
  EXPECT_EQ(imported->authorities_size(), 2);
  EXPECT_EQ(world.Status().step(), ca::v1::PREPARED);
  EXPECT_EQ(world.Asked().certificates_size(), 0);
  ASSERT_OK(world.Rotate(Request::DISTRIBUTE));
  ASSERT_OK(world.Rotate(Request::ACTIVATE));
  EXPECT_NE(world.Signer(), old);
  world.ExpireEverything();
  ASSERT_OK(world.Rotate(Request::DRAIN));
  ASSERT_OK(world.Rotate(Request::DROP));
  world.Tick();
  EXPECT_EQ(world.Status().step(), ca::v1::DONE);
  EXPECT_EQ(world.StateOf(old), "retired");
}

TEST(OfflineRoot, AnImportWhoseAnswerWasLostIsGivenAgain) {
  Offline world;
  ASSERT_OK(world.Rotate(Request::PREPARE));
  const auto import = world.AllCertified();
  ASSERT_OK(world.Import(import));
  const auto revision = world.core->registry().revision();
  ASSERT_OK(world.Import(import));
  EXPECT_EQ(world.core->registry().revision(), revision);
}

TEST(OfflineRoot, APartOfWhatIsAwaitedIsRefusedWhole) {
  Offline world;
  ASSERT_OK(world.Rotate(Request::PREPARE));
  ca::v1::ImportCertificatesRequest import = world.AllCertified();
  import.mutable_certificates()->RemoveLast();
  EXPECT_THAT(world.Import(import).status(),
              StatusIs(StatusCode::kFailedPrecondition, "backup issuer"));
  EXPECT_EQ(world.Status().step(), ca::v1::AWAITING_CERTIFICATE);
  EXPECT_EQ(world.Asked().certificates_size(), 2);
}

TEST(OfflineRoot, AnAbortGivesUpWhatIsAwaitedAndDeletesItsKeys) {
  Offline world;
  const size_t before = world.keys.size();
  ASSERT_OK(world.Rotate(Request::PREPARE));
  const auto import = world.AllCertified();
  EXPECT_EQ(world.keys.size(), before + 2);
  ASSERT_OK(world.Rotate(Request::ABORT));
  EXPECT_EQ(world.Status().step(), ca::v1::ABORTED);
  EXPECT_EQ(world.Asked().certificates_size(), 0);
  EXPECT_THAT(world.Import(import).status(),
              StatusIs(StatusCode::kFailedPrecondition, "no certificate is awaited"));
  std::set<std::string> names;
  for (const auto& [name, key] : world.keys) names.insert(name);
  world.Step(ca::event::KeysSeen{names});
  EXPECT_EQ(world.keys.size(), before);
}

TEST(OfflineRoot, AFailoverEndsARotationThatWaits) {
  Offline world;
  const auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  ASSERT_OK(world.Rotate(Request::PREPARE));
  ca::v1::FailoverRequest asked;
  asked.set_now(true);
  EXPECT_OK(world.Admin<ca::v1::Rotation>(ca::Failover{asked, world.keys.at(ca::kBackupKeyName)}));
  EXPECT_EQ(world.Status().what(), "failover");
  EXPECT_EQ(world.Asked().certificates_size(), 0);
}

TEST(OfflineRoot, ABackupKeptApartIsCertifiedByImportAndThenFinished) {
  Offline world;
  const auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  const std::string pin = key.public_key().pin().bytes();
  auto asked = world.AskForBackup(key);
  ASSERT_OK(asked);
  EXPECT_EQ(asked->state(), "awaited");
  EXPECT_EQ(asked->certificate(), "");
  const auto again = world.AskForBackup(key);
  ASSERT_OK(again);
  EXPECT_EQ(world.Asked().certificates_size(), 1);
  EXPECT_EQ(world.Asked().certificates(0).certificate_request().empty(), false);
  ASSERT_OK(world.Import(world.AllCertified()));
  EXPECT_EQ(world.StateOf(pin), "backup");
  EXPECT_EQ(world.Declared().count(pin), 0u) << "its twin is not here yet";
  asked = world.AskForBackup(key);
  ASSERT_OK(asked);
  ASSERT_OK(world.Finish(*asked, key));
  EXPECT_EQ(world.Declared().count(pin), 1u);
}

TEST(OfflineRoot, AnotherRequestForABackupReplacesTheOneThatWaits) {
  Offline world;
  const auto first = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  ASSERT_OK(world.AskForBackup(first));
  ASSERT_OK(world.Rotate(Request::PREPARE));
  const auto second = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  const auto asked = world.AskForBackup(second);
  ASSERT_OK(asked);
  EXPECT_THAT(asked->warning(), HasSubstr(first.public_key().pin().ToString()));
  EXPECT_EQ(world.Asked().certificates_size(), 3);
  EXPECT_EQ(world.Status().awaited_size(), 2) << "the backup kept apart is not the rotation's";
  EXPECT_THAT(world.Import(world.AllCertified()).status(),
              StatusIs(StatusCode::kInvalidArgument, "two commands"));
}

TEST(OfflineRoot, CertificatesOfAnotherTimeAreNoAnswerToWhatIsAwaitedNow) {
  Offline world;
  ASSERT_OK(world.Rotate(Request::PREPARE));
  const auto first = world.AllCertified();
  ASSERT_OK(world.Import(first));
  ASSERT_OK(world.AskForBackup(*x509::PrivateKey::Generate(x509::KeyType::kP256)));
  const auto again = world.Import(first);
  ASSERT_OK(again) << "the answer of the last import was lost";
  EXPECT_EQ(again->next(0), "linchpin ca csr") << "one is still awaited";
  ca::v1::ImportCertificatesRequest root;
  root.add_certificates(world.root->der());
  EXPECT_THAT(world.Import(root).status(),
              StatusIs(StatusCode::kFailedPrecondition, "still awaited"));
  ASSERT_OK(world.Rotate(Request::ABORT));
  ASSERT_OK(world.Rotate(Request::PREPARE));
  EXPECT_THAT(world.Import(first).status(),
              StatusIs(StatusCode::kFailedPrecondition, "3 that are still awaited"));
}

TEST(OfflineRoot, AWarningSaysThatARotationCannotProceedWithoutItsCertificates) {
  Offline world;
  world.on_deadline = "proceed";
  ASSERT_OK(world.Rotate(Request::PREPARE));
  EXPECT_EQ(world.Status().warnings_size(), 0);
  world.now += absl::Hours(24 * 46);
  ASSERT_EQ(world.Status().warnings_size(), 1);
  EXPECT_THAT(world.Status().warnings(0), HasSubstr("waits for certificates since"));
  EXPECT_THAT(world.Status().warnings(0), HasSubstr("50 %"));
}

TEST(OfflineRoot, ABackupThatWaitedIsCertifiedAtOnceWhereARootOfTheCasOwnHasCome) {
  Offline world;
  const auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  ASSERT_OK(world.AskForBackup(key));
  ASSERT_EQ(world.Asked().certificates_size(), 1);
  world.BringRootHome();
  EXPECT_EQ(world.Asked().certificates_size(), 0) << "nobody else could certify it";
  const auto certified = world.AskForBackup(key);
  ASSERT_OK(certified);
  EXPECT_NE(certified->certificate(), "");
  EXPECT_EQ(world.core->registry().awaited().size(), 0u);
}

TEST(OfflineRoot, AnIssuersLeavesLiveNoLongerThanIssuersDoHoweverLongItMayLive) {
  Offline world;
  const ca::Authorities& authorities = world.core->authorities();
  EXPECT_EQ(authorities.LongestLeafOf(authorities.active(), absl::Hours(48)), absl::Hours(48));
  EXPECT_EQ(authorities.LongestLeaf(absl::Hours(48)), ca::kUsualIssuerTtl)
      << "what was issued before it became less is looked for";
  ca::v1::Identity identity;
  identity.set_spiffe_id(test::Id("/web"));
  identity.add_selectors("unix:uid:1000");
  identity.set_any_node(true);
  identity.set_ttl_seconds(absl::ToInt64Seconds(world.options.profile.issuer_ttl) + 1);
  EXPECT_THAT(world.Admin<ca::v1::Identity>(ca::CreateIdentity{identity}).status(),
              StatusIs(StatusCode::kInvalidArgument, "ttl"));
  world.BringRootHome();
  EXPECT_GT(world.core->authorities().LongestLeaf(absl::Hours(48)), absl::Hours(24 * 89));
}

TEST(OfflineRoot, AnIdentityOfOnceIsIssuedNoLongerLeavesThanIssuersLiveNow) {
  Offline world;
  ca::v1::Identity identity;
  identity.set_spiffe_id(test::Id("/web"));
  identity.add_selectors("unix:uid:1000");
  identity.set_any_node(true);
  identity.set_ttl_seconds(absl::ToInt64Seconds(absl::Hours(48)));
  const auto made = world.Admin<ca::v1::Identity>(ca::CreateIdentity{identity});
  ASSERT_OK(made);
  world.options.profile.issuer_ttl = absl::Hours(24);
  world.CrashAndRestart();
  const auto issued =
      world.Answer<ca::v1::IssueResponse>(world.AskIssue(world.nodes[0], made->identity_id()));
  ASSERT_OK(issued);
  const auto leaf = x509::Certificate::FromDer(issued->results(0).chain(0));
  ASSERT_OK(leaf);
  EXPECT_EQ(leaf->fields().not_after, world.now + absl::Hours(24));
}

TEST(OfflineRoot, EachRequestSaysWhatItIsForAndWhichRootIsToCertifyIt) {
  Offline world;
  world.PutSetInForce();
  ASSERT_OK(world.AskForBackup(*x509::PrivateKey::Generate(x509::KeyType::kP256)));
  world.what = "root";
  ASSERT_OK(world.Rotate(Request::PREPARE));
  const std::string present = world.root->public_key().pin().bytes();
  std::multiset<std::pair<std::string, std::string>> shown;
  const ca::v1::AwaitedList asked = world.Asked();
  for (const auto& one : asked.certificates()) {
    shown.emplace(one.purpose() + " " + one.state(), one.root_sha256());
  }
  const std::multiset<std::pair<std::string, std::string>> expected = {
      {"rotation prepared", ""}, {"rotation backup", ""}, {"backup backup", present}};
  EXPECT_EQ(shown, expected);
  EXPECT_THAT(world.Status().waits_for(), HasSubstr("2 certificates by the new root"));
}

TEST(OfflineRoot, ARootThatIsNotTheOneInForceIsRefusedInARotationOfTheIssuer) {
  Offline world;
  ASSERT_OK(world.Rotate(Request::PREPARE));
  ca::v1::ImportCertificatesRequest import = world.AllCertified();
  const auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  import.add_certificates(
      x509::SelfSign(ca::RootSpec(world.options.profile, key.public_key(), world.now, world.random),
                     key)
          ->der());
  EXPECT_THAT(world.Import(import).status(),
              StatusIs(StatusCode::kInvalidArgument, "rotate prepare --what root"));
}

}  // namespace
}  // namespace linchpin
