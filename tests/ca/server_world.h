// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A whole CA on loopback, with what nodes and operators need to meet it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "ca/attest/join_token.h"
#include "ca/keys/file_key_manager.h"
#include "ca/server/authority_setup.h"
#include "ca/server/ca_server.h"
#include "ca/store/sqlite_store.h"
#include "gtest/gtest.h"
#include "linchpin/ca/v1/admin.grpc.pb.h"
#include "linchpin/ca/v1/node.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/grpc_log.h"
#include "rpc/status.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"
#include "trust/judge.h"
#include "trust/trust_acceptance.h"

namespace linchpin::test {
inline const base::Clock& Clock() { return base::SystemClock(); }

struct Context : grpc::ClientContext {
  Context() { set_deadline(absl::ToChronoTime(Clock().Now() + absl::Seconds(30))); }
};

inline x509::Chain Parsed(const google::protobuf::RepeatedPtrField<std::string>& ders) {
  const std::vector<std::string> chain(ders.begin(), ders.end());
  return *x509::ParseDerChain(chain);
}

template <typename Response, typename Call>
absl::StatusOr<Response> Do(Call call) {
  Context context;
  Response response;
  const absl::Status status = rpc::FromGrpc(call(&context, &response));
  if (!status.ok()) return status;
  return response;
}

class Server : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    rpc::QuietGrpcLog();
    ASSERT_OK(base::InitLog("ca_server_test", "error"));
  }
  void SetUp() override { Start(); }
  void TearDown() override { Stop(); }

  void Start() {
    ASSERT_OK_AND_ASSIGN(store_, ca::SqliteStore::Open(dir_.path() + "/store.db"));
    ASSERT_OK_AND_ASSIGN(keys_, ca::FileKeyManager::Make(dir_.path() + "/keys"));
    ASSERT_OK_AND_ASSIGN(log_, ca::IssuanceLog::Open(dir_.path() + "/log"));
    const ca::AuthoritySetup setup{.profile = {.trust_domain = trust_domain_}};
    ASSERT_OK(ca::SetUpAuthorities(*store_, *keys_, setup, Clock().Now()));
    ca::ServerOptions options{.core = {.profile = setup.profile},
                              .listen = "127.0.0.1:0",
                              .admin_socket = dir_.path() + "/admin.sock",
                              .admin_listen = "127.0.0.1:0",
                              .verifiers = {}};
    options.verifiers.push_back(std::make_unique<ca::JoinTokenVerifier>());
    options.verifiers.push_back(std::make_unique<ca::ExpiredCertificateVerifier>());
    ASSERT_OK_AND_ASSIGN(server_, ca::CaServer::Start(std::move(options), {.store = *store_,
                                                                           .keys = *keys_,
                                                                           .log = *log_,
                                                                           .clock = Clock(),
                                                                           .metrics = metrics_}));
    address_ = absl::StrCat("127.0.0.1:", server_->port());
    admin_ = ca::v1::AdminService::NewStub(rpc::UnixChannel(dir_.path() + "/admin.sock"));
  }
  void Stop() {
    server_.reset();
    log_.reset();
    keys_.reset();
    store_.reset();
  }

  absl::StatusOr<ca::v1::JoinToken> Token(const std::string& name) {
    return Do<ca::v1::JoinToken>([&](auto* context, auto* response) {
      ca::v1::CreateJoinTokenRequest request;
      request.set_node_name(name);
      return admin_->CreateJoinToken(context, request, response);
    });
  }
  absl::StatusOr<ca::v1::Identity> Register(const std::string& path) {
    return Do<ca::v1::Identity>([&](auto* context, auto* response) {
      ca::v1::Identity request;
      request.set_spiffe_id("spiffe://example.org" + path);
      request.add_selectors("unix:uid:1");
      request.set_any_node(true);
      return admin_->CreateIdentity(context, request, response);
    });
  }
  std::vector<ca::v1::LogEntry> Log() {
    Context context;
    auto reader = admin_->ReadLog(&context, {});
    std::vector<ca::v1::LogEntry> entries;
    ca::v1::LogEntry entry;
    while (reader->Read(&entry)) entries.push_back(entry);
    EXPECT_OK(rpc::FromGrpc(reader->Finish()));
    return entries;
  }

  // A channel as a node that knows nothing but the root's pin has it.
  std::unique_ptr<ca::v1::NodeService::Stub> Stranger() {
    return ca::v1::NodeService::NewStub(
        rpc::FirstContactChannel(address_, [this](const std::vector<std::string>& chain) {
          auto root = x509::Certificate::FromDer(chain.back());
          if (!root.ok()) return root.status();
          auto held = trust::BeginSetZero(trust_domain_, chain, {root->public_key().pin()},
                                          Clock().Now(), absl::Seconds(60));
          if (held.ok()) held_ = *held;
          return held.status();
        }));
  }
  absl::StatusOr<ca::v1::AttestResponse> Attest(const std::string& token,
                                                const x509::PrivateKey& key) {
    auto stub = Stranger();
    return Do<ca::v1::AttestResponse>([&](auto* context, auto* response) {
      ca::v1::AttestRequest request;
      request.set_certificate_request(*x509::MakeCertificateRequest(key));
      request.set_join_token(token);
      return stub->Attest(context, request, response);
    });
  }
  // A node that is attested and judges the CA.
  std::unique_ptr<ca::v1::NodeService::Stub> Join(const std::string& name) {
    auto token = Token(name);
    EXPECT_OK(token);
    auto attested = Attest(token->token(), node_key_);
    EXPECT_OK(attested);
    if (!attested.ok()) return nullptr;
    auto accepted = trust::AcceptTrust(*held_, attested->trust(), {.now = Clock().Now()});
    EXPECT_OK(accepted);
    held_ = *accepted;
    node_chain_ = Parsed(attested->chain());
    return Connect();
  }
  std::shared_ptr<grpc::Channel> ConnectChannel() {
    auto context = trust::MtlsContext::Make({.chain = node_chain_,
                                             .key = node_key_,
                                             .trust = {{trust_domain_, held_->state}},
                                             .policy = {}});
    EXPECT_OK(context);
    return rpc::JudgedChannel(address_, *context, trust::Expect::Ca(), Clock());
  }
  std::unique_ptr<ca::v1::NodeService::Stub> Connect() {
    return ca::v1::NodeService::NewStub(ConnectChannel());
  }
  static absl::StatusOr<ca::v1::IssueResponse> Issue(ca::v1::NodeService::Stub& node,
                                                     const std::string& identity_id,
                                                     const std::string& request_der) {
    return Do<ca::v1::IssueResponse>([&](auto* context, auto* response) {
      ca::v1::IssueRequest request;
      request.add_items()->set_identity_id(identity_id);
      request.mutable_items(0)->set_certificate_request(request_der);
      return node.Issue(context, request, response);
    });
  }

  const trust::TrustDomain trust_domain_ = *trust::TrustDomain::FromName("example.org");
  TempDir dir_;
  base::Metrics metrics_;
  std::unique_ptr<ca::SqliteStore> store_;
  std::unique_ptr<ca::FileKeyManager> keys_;
  std::unique_ptr<ca::IssuanceLog> log_;
  std::unique_ptr<ca::CaServer> server_;
  std::unique_ptr<ca::v1::AdminService::Stub> admin_;
  std::string address_;
  x509::PrivateKey node_key_ = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  x509::Chain node_chain_;
  std::optional<trust::TrustHeld> held_;
};

}  // namespace linchpin::test
