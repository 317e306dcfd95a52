// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a CA serves while it waits for its first certificates; whole programs that wait:
// tests/e2e/test_offline_root.py.

#include "ca/server/waiting_server.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <atomic>

#include "ca/keys/memory_key_manager.h"
#include "ca/store/memory_store.h"
#include "tests/ca/server_world.h"
#include "tests/support/seeded_random.h"
#include "x509/certificate_builder.h"
#include "x509/certificate_request.h"

namespace linchpin::test {
namespace {

// Once, a commit is stored and says that it may not have been.
class UncertainStore final : public ca::Store {
 public:
  absl::StatusOr<ca::Revision> Commit(const std::vector<ca::Write>& batch) override {
    auto revision = store_.Commit(batch);
    if (!std::exchange(uncertain, false)) return revision;
    return absl::UnavailableError("the disk did not answer in time");
  }
  absl::StatusOr<ca::Record> Get(absl::string_view key) override { return store_.Get(key); }
  absl::StatusOr<Listing> List(absl::string_view prefix) override { return store_.List(prefix); }
  absl::StatusOr<std::vector<Changed>> ChangesAfter(ca::Revision after, size_t most) override {
    return store_.ChangesAfter(after, most);
  }
  void Watch(std::function<void()> on_change) override { store_.Watch(std::move(on_change)); }

  bool uncertain = false;

 private:
  ca::MemoryStore store_;
};

TEST(WaitingServer, GoesOnAfterAnImportThatIsStoredAlthoughItsAnswerWasAnError) {
  rpc::QuietGrpcLog();
  const TempDir dir;
  UncertainStore store;
  ca::MemoryKeyManager keys;
  SeededRandom random{7};
  const absl::Time now = Clock().Now();
  const ca::AuthoritySetup setup{
      .profile = {.trust_domain = *trust::TrustDomain::FromName("x.org"), .external_root = true}};
  ASSERT_OK(ca::SetUpAuthorities(store, keys, setup, now));
  std::atomic<int> told = 0;
  ASSERT_OK_AND_ASSIGN(const auto server,
                       ca::WaitingServer::Start(dir.Join("admin.sock"), setup,
                                                {store, keys, Clock()}, [&told] { ++told; }));
  const auto stub = ca::v1::AdminService::NewStub(
      grpc::CreateChannel("unix:" + dir.Join("admin.sock"), grpc::InsecureChannelCredentials()));
  ASSERT_OK_AND_ASSIGN(const auto asked, Do<ca::v1::AwaitedList>([&](auto* context, auto* list) {
                         return stub->ListAwaited(context, ca::v1::ListAwaitedRequest(), list);
                       }));
  ASSERT_EQ(asked.certificates_size(), 2);
  EXPECT_EQ(asked.certificates(0).purpose(), "first-start");
  const auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  const auto root =
      *x509::SelfSign(ca::RootSpec(setup.profile, key.public_key(), now, random), key);
  ca::v1::ImportCertificatesRequest import;
  import.add_certificates(root.der());
  for (const auto& one : asked.certificates()) {
    const auto request = *x509::CertificateRequest::FromDer(one.certificate_request());
    const auto spec = ca::IssuerSpec(setup.profile, request.public_key(), root, now, random);
    import.add_certificates(x509::SignCertificate(spec, request.public_key(), root, key)->der());
  }
  const auto give = [&] {
    return Do<ca::v1::ImportedCertificates>([&](auto* context, auto* imported) {
             return stub->ImportCertificates(context, import, imported);
           })
        .status();
  };
  store.uncertain = true;
  EXPECT_THAT(give(), StatusIs(absl::StatusCode::kUnavailable, "did not answer in time"));
  EXPECT_EQ(told, 1) << "the store has been set up";
  EXPECT_THAT(give(), StatusIs(absl::StatusCode::kUnavailable, "here already"));
  EXPECT_EQ(told, 1) << "once";
}

}  // namespace
}  // namespace linchpin::test
