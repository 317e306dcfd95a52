// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/sync_stream.h"

#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <variant>

#include "base/mutex.h"
#include "gtest/gtest.h"

namespace linchpin::test {
namespace {

using agent::Event;

constexpr auto kDeadline = std::chrono::seconds(60);

// A CA that says two things and then waits for the end.
class TalkingCa final : public ca::v1::NodeService::Service {
 public:
  grpc::Status Sync(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<ca::v1::CaMessage, ca::v1::NodeMessage>* stream) override {
    ca::v1::NodeMessage message;
    stream->Read(&message);
    for (uint64_t revision : {1, 2}) {
      ca::v1::CaMessage said;
      said.set_revision(revision);
      stream->Write(said);
    }
    while (stream->Read(&message)) {
    }
    return grpc::Status::OK;
  }
};

class SyncStreamTest : public ::testing::Test {
 protected:
  // gRPC's library waits up to 10 s for its own poller when its last object goes: one stays.
  static void SetUpTestSuite() {
    static grpc::CompletionQueue& kept = *new grpc::CompletionQueue();
    (void)kept;
  }

  SyncStreamTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&ca_);
    server_ = builder.BuildAndStart();
    stub_ = ca::v1::NodeService::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                                                             grpc::InsecureChannelCredentials()));
  }
  ~SyncStreamTest() override { server_->Shutdown(); }

  std::shared_ptr<agent::SyncStream> Start(absl::Status taken) {
    const auto post = [this, taken](const Event& event, std::function<void()> then) {
      if (!taken.ok()) return taken;
      base::MutexLock lock(mutex_);
      if (std::holds_alternative<agent::event::SyncOpened>(event)) {
        // What overtakes the opening comes in this time.
        changed_.wait_for(lock, slow_opening_, [this] { return last_ != 0; });
        opened_ = true;
      }
      const auto* received = std::get_if<agent::event::SyncReceived>(&event);
      if (received != nullptr) {
        overtaken_ = overtaken_ || !opened_;
        last_ = received->message.revision();
      }
      then_ = std::move(then);
      changed_.notify_all();
      return absl::OkStatus();
    };
    const auto done = [this] {
      base::MutexLock lock(mutex_);
      done_ = true;
      changed_.notify_all();
    };
    return agent::SyncStream::Start({stub_, queue_, post, done}, {.stream = 1, .hello = {}});
  }
  template <typename Condition>
  bool Await(Condition condition) {
    base::MutexLock lock(mutex_);
    return changed_.wait_for(lock, kDeadline, condition);
  }

  TalkingCa ca_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<ca::v1::NodeService::Stub> stub_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::chrono::milliseconds slow_opening_{0};
  bool opened_ = false;
  bool overtaken_ = false;
  uint64_t last_ = 0;
  std::function<void()> then_;
  bool done_ = false;
  rpc::CallQueue queue_;
};

TEST_F(SyncStreamTest, ReadsOnOnlyWhenTheLastMessageWasTaken) {
  const auto stream = Start(absl::OkStatus());
  ASSERT_TRUE(Await([this] { return last_ == 1 && then_ != nullptr; }));
  std::exchange(then_, nullptr)();
  EXPECT_TRUE(Await([this] { return last_ == 2 && then_ != nullptr; }));
  std::exchange(then_, nullptr)();
  stream->Cancel();
  EXPECT_TRUE(Await([this] { return done_; }));
}

TEST_F(SyncStreamTest, NoMessageOvertakesTheOpening) {
  slow_opening_ = std::chrono::milliseconds(200);
  const auto stream = Start(absl::OkStatus());
  ASSERT_TRUE(Await([this] { return last_ == 1 && then_ != nullptr; }));
  EXPECT_FALSE(overtaken_) << "whoever is told of a message before the opening drops it";
  std::exchange(then_, nullptr)();
  ASSERT_TRUE(Await([this] { return last_ == 2 && then_ != nullptr; }));
  std::exchange(then_, nullptr)();
  stream->Cancel();
  EXPECT_TRUE(Await([this] { return done_; }));
}

// The agent is stopping, or its queue is full: nobody will ever take the message.
TEST_F(SyncStreamTest, EndsAlthoughNobodyTakesItsMessages) {
  const auto stream = Start(absl::CancelledError("stopping"));
  EXPECT_TRUE(Await([this] { return done_; }))
      << "a message that is not taken ends the stream: the next one has it again";
  stream->Cancel();
}

}  // namespace
}  // namespace linchpin::test
