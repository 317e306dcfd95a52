// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What an attested node can do to the CA and to the others.

#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/retry_after.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/server_world.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::SizeIs;

using Stub = ca::v1::NodeService::Stub;
using Stream = grpc::ClientReaderWriter<ca::v1::NodeMessage, ca::v1::CaMessage>;

std::string NewRequest(const x509::PrivateKey& key) { return *x509::MakeCertificateRequest(key); }

// Asks again and again over several connections, as much at once as it may. Not by gRPC's
// callbacks: the last of them may let go of the last channel, and gRPC 1.51 dies when a thread of
// its own does.
class Flood {
 public:
  Flood(std::vector<std::unique_ptr<Stub>> stubs, ca::v1::IssueRequest request)
      : stubs_(std::move(stubs)), request_(std::move(request)), thread_([this] { Run(); }) {}
  ~Flood() {
    stopping_ = true;
    thread_.join();
    queue_.Shutdown();
  }
  void WaitForRefusal() {
    base::MutexLock lock(mutex_);
    changed_.wait(lock, [this] { return refused_ > 0; });
  }
  size_t issued() {
    base::MutexLock lock(mutex_);
    return issued_;
  }
  std::string wrong() {
    base::MutexLock lock(mutex_);
    return wrong_;
  }

 private:
  struct Call {
    Stub* stub = nullptr;
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<ca::v1::IssueResponse>> reader;
    ca::v1::IssueResponse response;
    grpc::Status status;
  };
  void Run() {
    constexpr size_t kCallsOfEach = 20;
    size_t under_way = kCallsOfEach * stubs_.size();
    for (size_t i = 0; i < under_way; ++i) Ask(stubs_[i % stubs_.size()].get());
    while (under_way > 0) {
      void* tag = nullptr;
      bool ok = false;
      ASSERT_TRUE(queue_.Next(&tag, &ok));
      const std::unique_ptr<Call> call(static_cast<Call*>(tag));
      Count(call->response, rpc::FromGrpc(call->status));
      if (stopping_) {
        --under_way;
      } else {
        Ask(call->stub);
      }
    }
  }
  void Ask(Stub* stub) {
    auto call = std::make_unique<Call>();
    call->stub = stub;
    call->reader = stub->AsyncIssue(&call->context, request_, &queue_);
    call->reader->Finish(&call->response, &call->status, call.get());
    call.release();  // until it comes out of the queue
  }
  void Count(const ca::v1::IssueResponse& response, const absl::Status& status) {
    base::MutexLock lock(mutex_);
    if (status.ok()) {
      issued_ += static_cast<size_t>(response.results_size());
    } else if (absl::IsResourceExhausted(status) && base::RetryAfter(status).has_value()) {
      ++refused_;
      changed_.notify_all();
    } else {
      wrong_ = status.ToString();
    }
  }

  const std::vector<std::unique_ptr<Stub>> stubs_;
  const ca::v1::IssueRequest request_;
  grpc::CompletionQueue queue_;
  std::atomic<bool> stopping_ = false;
  base::Mutex mutex_;
  base::CondVar changed_;
  size_t issued_ = 0;
  size_t refused_ = 0;
  std::string wrong_;
  std::thread thread_;  // last: it uses all of the above
};

class HostileNode : public Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    auto registered = Register("/web");
    ASSERT_OK(registered);
    identity_ = registered->identity_id();
  }
  static std::unique_ptr<Stream> Open(Stub& node, grpc::ClientContext* context) {
    auto stream = node.Sync(context);
    ca::v1::NodeMessage hello;
    hello.mutable_hello();
    EXPECT_TRUE(stream->Write(hello));
    ca::v1::CaMessage message;
    EXPECT_TRUE(stream->Read(&message));
    return stream;
  }
  // What the CA makes of one message after Hello.
  absl::Status AfterHello(Stub& node, const ca::v1::NodeMessage& message) {
    Context context;
    const auto stream = Open(node, &context);
    stream->Write(message);
    ca::v1::CaMessage read;
    while (stream->Read(&read)) {
    }
    return rpc::FromGrpc(stream->Finish());
  }
  void ExpectIssued(Stub& node) {
    auto issued = Issue(node, identity_, NewRequest(node_key_));
    ASSERT_OK(issued);
    EXPECT_EQ(issued->results(0).code(), 0u) << issued->results(0).message();
  }

  std::string identity_;
};

TEST_F(HostileNode, AFloodOverSeveralConnectionsDoesNotDelayAnother) {
  ASSERT_NE(Join("flood"), nullptr);
  std::vector<std::unique_ptr<Stub>> stubs;
  for (int i = 0; i < 4; ++i) stubs.push_back(Connect());
  ca::v1::IssueRequest request;
  for (size_t i = 0; i < ca::CaCore::kMaxIssueItems; ++i) {
    ca::v1::IssueItem* item = request.add_items();
    item->set_identity_id(identity_);
    item->set_certificate_request(NewRequest(node_key_));
  }
  const auto quiet = Join("quiet");
  ExpectIssued(*quiet);
  Flood flood(std::move(stubs), std::move(request));
  flood.WaitForRefusal();  // its queue is full: 32 calls of 256 certificates
  constexpr size_t kCalls = 2;
  const size_t before = flood.issued();
  for (size_t i = 0; i < kCalls; ++i) ExpectIssued(*quiet);
  // Behind what was under way, and not behind what waits.
  EXPECT_LT((flood.issued() - before) / kCalls, 8 * ca::IssueQueue::kMaxUnderWay);
  EXPECT_EQ(flood.wrong(), "");
}

TEST_F(HostileNode, IsIssuedNothingOfOthers) {
  ASSERT_OK(Token("b"));
  ASSERT_OK_AND_ASSIGN(const auto other, Do<ca::v1::Identity>([&](auto* context, auto* response) {
                         ca::v1::Identity asked;
                         asked.set_spiffe_id("spiffe://example.org/of-b");
                         asked.add_selectors("unix:uid:1");
                         asked.add_node_ids("spiffe://example.org/linchpin/node/b");
                         return admin_->CreateIdentity(context, asked, response);
                       }));
  const auto node = Join("a");
  const size_t logged = Log().size();
  ASSERT_OK_AND_ASSIGN(const auto answer, Issue(*node, other.identity_id(), NewRequest(node_key_)));
  EXPECT_EQ(answer.results(0).code(), static_cast<uint32_t>(StatusCode::kPermissionDenied));
  EXPECT_THAT(Log(), SizeIs(logged));
}

TEST_F(HostileNode, AReplayedRequestGetsItsOwnKeyCertifiedAgainAndIsLogged) {
  const auto node = Join("a");
  const std::string request = NewRequest(node_key_);
  const size_t logged = Log().size();
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK_AND_ASSIGN(const auto answer, Issue(*node, identity_, request));
    EXPECT_EQ(Parsed(answer.results(0).chain())[0].public_key(), node_key_.public_key());
  }
  EXPECT_THAT(Log(), SizeIs(logged + 3));
}

TEST_F(HostileNode, AReplayedTokenIsRefusedToAnotherKey) {
  ASSERT_OK_AND_ASSIGN(const auto token, Token("a"));
  ASSERT_OK(Attest(token.token(), node_key_));
  EXPECT_THAT(Attest(token.token(), *x509::PrivateKey::Generate(x509::KeyType::kP256)),
              StatusIs(StatusCode::kPermissionDenied, "another key"));
  EXPECT_OK(Attest(token.token(), node_key_));
}

TEST_F(HostileNode, AHelloFromElsewhereIsGivenASnapshot) {
  const auto node = Join("a");
  for (const uint64_t revision : {uint64_t{0}, uint64_t{1} << 40}) {
    Context context;
    const auto stream = node->Sync(&context);
    ca::v1::NodeMessage hello;
    hello.mutable_hello()->set_incarnation("of another CA");
    hello.mutable_hello()->set_revision(revision);
    ASSERT_TRUE(stream->Write(hello));
    ca::v1::CaMessage first;
    ASSERT_TRUE(stream->Read(&first));
    EXPECT_TRUE(first.reset());
    context.TryCancel();
  }
}

TEST_F(HostileNode, AFloodOfAcknowledgementsHoldsNobodyUp) {
  const auto flooder = Join("a");
  const auto quiet = Join("b");
  // The first node's chain is the flooder's no more; its stream stays.
  Context context;
  const auto stream = Open(*flooder, &context);
  ca::v1::NodeMessage ack;
  ack.mutable_ack()->set_revision(1);
  for (int i = 0; i < 5000; ++i) {
    ack.mutable_ack()->set_trust_epoch(i);
    ASSERT_TRUE(stream->Write(ack));
    if (i % 1000 == 0) ExpectIssued(*quiet);
  }
  // The last one counts.
  while (true) {
    ASSERT_OK_AND_ASSIGN(const auto list, Do<ca::v1::NodeList>([&](auto* asked, auto* response) {
                           return admin_->ListNodes(asked, {}, response);
                         }));
    if (list.nodes(0).epoch_held() == 4999u) break;
  }
  context.TryCancel();
}

TEST_F(HostileNode, IsToldWhatWasWrongInItsStream) {
  const auto node = Join("a");
  ca::v1::NodeMessage hello_again;
  hello_again.mutable_hello();
  EXPECT_THAT(AfterHello(*node, hello_again),
              StatusIs(StatusCode::kInvalidArgument, "after Hello"));
  EXPECT_THAT(AfterHello(*node, {}), StatusIs(StatusCode::kInvalidArgument, "after Hello"));
  ca::v1::NodeMessage large;
  large.mutable_ack()->set_refused(std::string(5 << 20, 'x'));
  EXPECT_THAT(AfterHello(*node, large), StatusIs(StatusCode::kResourceExhausted));
  ExpectIssued(*node);
}

TEST_F(HostileNode, GarbageInsideAStreamEndsItAndNothingElse) {
  const auto node = Join("a");
  const auto channel = ConnectChannel();
  grpc::GenericStub generic(channel);
  for (const std::string& garbage :
       {std::string("\xff\xff\xff\xff"), std::string("\x0a\x7f"), std::string(100'000, '\xee')}) {
    grpc::CompletionQueue queue;
    Context context;
    const auto wait = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      EXPECT_TRUE(queue.Next(&tag, &ok));
      return ok;
    };
    const auto call = generic.PrepareCall(&context, "/linchpin.ca.v1.NodeService/Sync", &queue);
    call->StartCall(nullptr);
    ASSERT_TRUE(wait());
    const grpc::Slice slice(garbage);
    call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    wait();
    grpc::Status status;
    call->Finish(&status, nullptr);
    wait();
    EXPECT_THAT(rpc::FromGrpc(status), StatusIs(StatusCode::kCancelled, "no NodeMessage"));
    queue.Shutdown();
  }
  ExpectIssued(*node);
}

}  // namespace
}  // namespace linchpin::test
