// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The whole CA over real sockets and TLS, as a node and an operator meet it.

#include <unistd.h>

#include "ca/core/new_authorities.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/server_world.h"
#include "trust/judge.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::SizeIs;

TEST_F(Server, AttestsSyncsAndIssuesWhatJudgeAccepts) {
  ASSERT_OK_AND_ASSIGN(const auto identity, Register("/web"));
  auto node = Join("a");
  ASSERT_NE(node, nullptr);

  Context sync_context;
  auto stream = node->Sync(&sync_context);
  ca::v1::NodeMessage hello;
  hello.mutable_hello();
  ASSERT_TRUE(stream->Write(hello));
  ca::v1::CaMessage snapshot;
  ASSERT_TRUE(stream->Read(&snapshot));
  EXPECT_TRUE(snapshot.reset() && snapshot.has_trust());
  while (!snapshot.complete()) ASSERT_TRUE(stream->Read(&snapshot));
  ASSERT_THAT(snapshot.identities(), SizeIs(1));
  EXPECT_EQ(snapshot.identities(0).identity_id(), identity.identity_id());

  ASSERT_OK_AND_ASSIGN(const auto issued, Issue(*node, identity.identity_id(),
                                                *x509::MakeCertificateRequest(node_key_)));
  ASSERT_EQ(issued.results(0).code(), 0u) << issued.results(0).message();
  const auto& chain = issued.results(0).chain();
  trust::v1::PeerRule rule;
  rule.set_from("spiffe://example.org/web");
  rule.set_to("spiffe://example.org/db");
  rule.set_inbound(true);
  const auto db = *trust::SpiffeId::Parse(rule.to());
  ASSERT_OK_AND_ASSIGN(
      const auto context,
      trust::MtlsContext::Make({.chain = {},
                                .key = {},
                                .trust = {{trust_domain_, held_->state}},
                                .policy = *trust::PeerPolicy::ForIdentity(db, {rule})}));
  const trust::Verdict verdict =
      trust::Judge({chain.begin(), chain.end()}, *context, trust::Direction::kInbound,
                   trust::Expect::AnyAllowed(), Clock().Now(), nullptr);
  EXPECT_TRUE(verdict.allowed) << verdict.ToString();
  const std::vector<ca::v1::LogEntry> log = Log();
  ASSERT_THAT(log, SizeIs(3)) << "the CA's own, the node's, the workload's";
  EXPECT_EQ(log[2].certificate_sha256(), x509::Certificate::FromDer(chain[0])->sha256());

  // What is changed now is pushed.
  ASSERT_OK(Register("/db"));
  ca::v1::CaMessage change;
  ASSERT_TRUE(stream->Read(&change));
  EXPECT_THAT(change.identities(), SizeIs(1));
  sync_context.TryCancel();
  stream->Finish();
}

TEST_F(Server, LetsNobodyInWithoutANodeCertificate) {
  auto stranger = Stranger();
  EXPECT_THAT(Issue(*stranger, "x", *x509::MakeCertificateRequest(node_key_)),
              StatusIs(StatusCode::kUnauthenticated));
  ASSERT_OK_AND_ASSIGN(const auto identity, Register("/web"));
  auto node = Join("a");
  ASSERT_OK_AND_ASSIGN(const auto issued, Issue(*node, identity.identity_id(),
                                                *x509::MakeCertificateRequest(node_key_)));
  // A workload's certificate is none of a node.
  node_chain_ = Parsed(issued.results(0).chain());
  auto workload = Connect();
  EXPECT_THAT(Issue(*workload, identity.identity_id(), "x"),
              StatusIs(StatusCode::kPermissionDenied, "UNEXPECTED_PEER"));
}

TEST_F(Server, AnswersBadRequestsAndGoesOnServing) {
  ASSERT_OK_AND_ASSIGN(const auto identity, Register("/web"));
  auto node = Join("a");
  const auto code = [&](const std::string& der) {
    auto answer = Issue(*node, identity.identity_id(), der);
    return answer.ok() ? static_cast<StatusCode>(answer->results(0).code())
                       : answer.status().code();
  };
  EXPECT_EQ(code(""), StatusCode::kInvalidArgument);
  EXPECT_EQ(code("garbage"), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(std::string(9000, 'x')), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(std::string(10 << 20, 'x')), StatusCode::kResourceExhausted);
  EXPECT_EQ(code(*x509::MakeCertificateRequest(node_key_, "spiffe://example.org/db")),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(code(*x509::MakeCertificateRequest(node_key_)), StatusCode::kOk);
  EXPECT_THAT(Attest("", node_key_), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Attest(std::string(1000, 'x'), node_key_), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Attest("unknown", node_key_), StatusIs(StatusCode::kPermissionDenied));
}

TEST_F(Server, EndsAStreamThatDoesNotBeginWithHello) {
  auto node = Join("a");
  Context context;
  auto stream = node->Sync(&context);
  ca::v1::NodeMessage ack;
  ack.mutable_ack();
  ASSERT_TRUE(stream->Write(ack));
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), StatusIs(StatusCode::kInvalidArgument, "Hello"));
}

TEST_F(Server, EndsTheStreamOfABannedNode) {
  auto node = Join("a");
  Context context;
  auto stream = node->Sync(&context);
  ca::v1::NodeMessage hello;
  hello.mutable_hello();
  ASSERT_TRUE(stream->Write(hello));
  ca::v1::CaMessage message;
  ASSERT_TRUE(stream->Read(&message));
  ASSERT_OK(Do<ca::v1::Node>([&](auto* admin_context, auto* response) {
    ca::v1::NodeRequest request;
    request.set_node_id("a");
    return admin_->BanNode(admin_context, request, response);
  }));
  while (stream->Read(&message)) {
  }
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), StatusIs(StatusCode::kPermissionDenied, "banned"));
}

TEST_F(Server, SaysGoodbyeAndKeepsEverythingAcrossARestart) {
  ASSERT_OK_AND_ASSIGN(const auto identity, Register("/web"));
  auto node = Join("a");
  Context context;
  auto stream = node->Sync(&context);
  ca::v1::NodeMessage hello;
  hello.mutable_hello();
  ASSERT_TRUE(stream->Write(hello));
  ca::v1::CaMessage message;
  ASSERT_TRUE(stream->Read(&message));
  const size_t logged = Log().size();
  server_->Stop();
  bool goodbye = false;
  while (stream->Read(&message)) goodbye = goodbye || message.has_goodbye();
  EXPECT_TRUE(goodbye);
  EXPECT_THAT(rpc::FromGrpc(stream->Finish()), StatusIs(StatusCode::kUnavailable));
  stream.reset();
  node.reset();

  Stop();
  Start();
  node = Connect();
  EXPECT_OK(Issue(*node, identity.identity_id(), *x509::MakeCertificateRequest(node_key_)));
  EXPECT_THAT(Log(), SizeIs(logged + 2)) << "the CA's own again, and the workload's";
  ASSERT_OK_AND_ASSIGN(const auto verified,
                       Do<ca::v1::LogVerification>([&](auto* log_context, auto* response) {
                         return admin_->VerifyLog(log_context, {}, response);
                       }));
  EXPECT_TRUE(verified.intact()) << verified.problem();
}

TEST_F(Server, TakesUpKeysThatACrashLeftBehind) {
  Stop();
  // As if the first start had ended before its commit.
  for (const char* file : {"/store.db", "/store.db-wal", "/store.db-shm"}) {
    ::unlink((dir_.path() + file).c_str());
  }
  ASSERT_OK_AND_ASSIGN(auto keys, ca::FileKeyManager::Make(dir_.path() + "/keys"));
  ASSERT_OK_AND_ASSIGN(const auto root, keys->Open(ca::kRootKeyName));
  Start();
  ASSERT_OK_AND_ASSIGN(const auto authorities,
                       Do<ca::v1::Authorities>([&](auto* context, auto* response) {
                         return admin_->GetAuthorities(context, {}, response);
                       }));
  EXPECT_EQ(authorities.authorities(0).spki_sha256(), root.public_key().pin().bytes());
}

}  // namespace
}  // namespace linchpin::test
