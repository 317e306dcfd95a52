// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/mtls_context_service.h"

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rpc/channel.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::test {
namespace {

using agent::Event;
namespace v1 = agent::v1;

constexpr auto kDeadline = std::chrono::seconds(60);

// Says what a test wants it to say.
class FakeAttestor final : public agent::WorkloadAttestor {
 public:
  absl::string_view Kind() const override { return "fake"; }
  absl::StatusOr<agent::Attested> Attest(const agent::PeerProcess& peer, bool want_hash) override {
    base::MutexLock lock(mutex_);
    ++looks_;
    changed_.notify_all();
    while (held_) changed_.wait(lock);
    if (!status_.ok()) return status_;
    agent::Attested attested{absl::StrCat(peer.pid), selectors_};
    if (want_hash) attested.selectors.push_back("hash");
    return attested;
  }
  void Say(std::vector<std::string> selectors) {
    base::MutexLock lock(mutex_);
    selectors_ = std::move(selectors);
  }
  void Fail(absl::Status status) {
    base::MutexLock lock(mutex_);
    status_ = std::move(status);
  }
  void Hold(bool hold) {
    base::MutexLock lock(mutex_);
    held_ = hold;
    changed_.notify_all();
  }
  void AwaitLooks(int looks) {
    base::MutexLock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kDeadline, [&] { return looks_ >= looks; }));
  }
  int looks() const {
    base::MutexLock lock(mutex_);
    return looks_;
  }

 private:
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  bool held_ = false;
  int looks_ = 0;
  absl::Status status_;
  std::vector<std::string> selectors_ = {"s"};
};

class ContextServiceTest : public ::testing::Test {
 protected:
  // gRPC's library waits up to 10 s for its own poller when its last object goes: one stays.
  static void SetUpTestSuite() {
    static grpc::CompletionQueue& kept = *new grpc::CompletionQueue();
    (void)kept;
  }

  ContextServiceTest()
      : streams_({.attestor = attestor_,
                  .attesting = attesting_,
                  .clock = clock_,
                  .post = taking_,
                  .take = taking_}),
        service_(streams_,
                 [this](v1::ReportRequest report, std::function<void(absl::Status)> done) {
                   Put(agent::event::ConsumerReported{std::move(report)});
                   TakenOrHeld([done = std::move(done)] { done(absl::OkStatus()); });
                 }) {
    listener_ = *rpc::UnixListener::Bind(dir_.Join("agent.sock"), 0666);
    streams_.UseListener(listener_.get());
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    listener_->Start(server_.get());
    stub_ = v1::MtlsContextService::NewStub(rpc::UnixChannel(dir_.Join("agent.sock")));
  }
  ~ContextServiceTest() override {
    listener_->Stop();
    streams_.EndAll(absl::UnavailableError("stopping"));
    server_->Shutdown();
    attesting_.Stop();
  }

  void Put(Event event) {
    base::MutexLock lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }
  // What a core that is slow to take events leaves undone.
  void TakenOrHeld(std::function<void()> then) {
    {
      base::MutexLock lock(mutex_);
      if (slow_core_) {
        held_.push_back(std::move(then));
        return changed_.notify_all();
      }
    }
    then();
  }
  void AwaitHeld(size_t count) {
    base::MutexLock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kDeadline, [&] { return held_.size() == count; }));
  }
  void BeSlow(bool slow) {
    std::vector<std::function<void()>> held;
    {
      base::MutexLock lock(mutex_);
      slow_core_ = slow;
      if (!slow) held.swap(held_);
    }
    for (const auto& then : held) then();
  }
  // The next event of this kind; others before it are dropped.
  template <typename Wanted>
  std::optional<Wanted> Await() {
    base::MutexLock lock(mutex_);
    while (true) {
      if (!changed_.wait_for(lock, kDeadline, [this] { return !events_.empty(); })) {
        ADD_FAILURE() << "nothing came";
        return std::nullopt;
      }
      const Event event = std::move(events_.front());
      events_.pop_front();
      if (const auto* wanted = std::get_if<Wanted>(&event)) return *wanted;
    }
  }
  std::shared_ptr<v1::MtlsContexts> Message(std::vector<std::string> selectors, uint64_t epoch,
                                            size_t size = 0) {
    auto message = std::make_shared<v1::MtlsContexts>();
    for (const std::string& selector : selectors) message->add_selectors(selector);
    message->set_trust_epoch(epoch);
    message->set_trust_digest(std::string(size, 'x'));
    return message;
  }

  TempDir dir_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<Event> events_;
  bool slow_core_ = false;
  std::vector<std::function<void()>> held_;
  FakeAttestor attestor_;
  FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  agent::UserQueues attesting_;
  const agent::PostThen taking_ = [this](Event event, std::function<void()> then) {
    if (then != nullptr) TakenOrHeld(std::move(then));
    Put(std::move(event));
    return absl::OkStatus();
  };
  agent::ConsumerStreams streams_;
  agent::ContextService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<rpc::UnixListener> listener_;
  std::unique_ptr<v1::MtlsContextService::Stub> stub_;
};

TEST_F(ContextServiceTest, AttestsTheCallerAndDeliversToIt) {
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  const auto opened = Await<agent::event::ConsumerOpened>();
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(opened->selectors, std::vector<std::string>{"s"});
  EXPECT_EQ(opened->process, absl::StrCat(getpid()));
  streams_.Deliver(opened->consumer, Message({"s"}, 7));
  v1::MtlsContexts message;
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.trust_epoch(), 7u);
  context.TryCancel();
  const auto closed = Await<agent::event::ConsumerClosed>();
  EXPECT_EQ(closed->consumer, opened->consumer);
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(ContextServiceTest, ASlowReaderGetsTheNewestAndCostsNoMemory) {
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  const auto opened = Await<agent::event::ConsumerOpened>();
  constexpr uint64_t kLast = 200;
  for (uint64_t i = 1; i <= kLast; ++i) {
    streams_.Deliver(opened->consumer, Message({"s"}, i, 1 << 20));
  }
  v1::MtlsContexts message;
  uint64_t received = 0;
  while (message.trust_epoch() < kLast && reader->Read(&message)) ++received;
  EXPECT_EQ(message.trust_epoch(), kLast);
  EXPECT_LT(received, kLast);
}

TEST_F(ContextServiceTest, ADeliveryLooksAgainUnlessItFollowsAtOnce) {
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  const auto opened = Await<agent::event::ConsumerOpened>();
  v1::MtlsContexts message;
  streams_.Deliver(opened->consumer, Message({"s"}, 1));
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(attestor_.looks(), 1);
  clock_.Advance(agent::ConsumerStreams::kFresh);
  streams_.Deliver(opened->consumer, Message({"s"}, 2));
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.trust_epoch(), 2u);
  EXPECT_EQ(attestor_.looks(), 2);
}

TEST_F(ContextServiceTest, WhatWasDecidedForOtherSelectorsIsNotSent) {
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  const auto opened = Await<agent::event::ConsumerOpened>();
  attestor_.Say({"t"});
  clock_.Advance(agent::ConsumerStreams::kFresh);
  streams_.Deliver(opened->consumer, Message({"s"}, 1));
  const auto changed = Await<agent::event::ConsumerChanged>();
  EXPECT_EQ(changed->selectors, std::vector<std::string>{"t"});
  streams_.Deliver(opened->consumer, Message({"t"}, 2));
  v1::MtlsContexts message;
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.trust_epoch(), 2u);
}

TEST_F(ContextServiceTest, AStreamWhoseProcessHasEndedIsEnded) {
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  const auto opened = Await<agent::event::ConsumerOpened>();
  attestor_.Fail(absl::UnauthenticatedError("it has ended"));
  clock_.Advance(agent::ConsumerStreams::kFresh);
  streams_.Deliver(opened->consumer, Message({"s"}, 1));
  v1::MtlsContexts message;
  EXPECT_FALSE(reader->Read(&message));
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(status.error_message(), "it has ended");
  EXPECT_EQ(Await<agent::event::ConsumerClosed>()->consumer, opened->consumer);
}

TEST_F(ContextServiceTest, ACallerThatLeavesWhileItIsLookedAtLeavesNoConsumer) {
  attestor_.Hold(true);
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  attestor_.AwaitLooks(1);
  context.TryCancel();
  reader->Finish();
  const auto closed = Await<agent::event::ConsumerClosed>();
  attestor_.Hold(false);
  EXPECT_EQ(Await<agent::event::ConsumerOpened>()->consumer, closed->consumer);
  EXPECT_EQ(Await<agent::event::ConsumerClosed>()->consumer, closed->consumer);
}

TEST_F(ContextServiceTest, AttestsAllAgainWhenARegistrationAsksForHashes) {
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  Await<agent::event::ConsumerOpened>();
  streams_.WantHash(true);
  EXPECT_THAT(Await<agent::event::ConsumerChanged>()->selectors, ::testing::Contains("hash"));
}

TEST_F(ContextServiceTest, ReportsAreTakenOnlyFromTheStreamsOwnProcess) {
  grpc::ClientContext watch;
  auto reader = stub_->Watch(&watch, {});
  const auto opened = Await<agent::event::ConsumerOpened>();
  v1::ReportRequest report;
  v1::ReportResponse response;
  report.set_consumer_id(opened->consumer);
  {
    grpc::ClientContext context;
    EXPECT_TRUE(stub_->Report(&context, report, &response).ok());
    EXPECT_EQ(Await<agent::event::ConsumerReported>()->report.consumer_id(), opened->consumer);
  }
  report.set_consumer_id("another");
  {
    grpc::ClientContext context;
    EXPECT_EQ(stub_->Report(&context, report, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  }
  report.set_consumer_id(opened->consumer);
  for (int i = 0; i <= agent::ContextService::kMaxVerdicts; ++i) report.add_verdicts();
  grpc::ClientContext context;
  EXPECT_EQ(stub_->Report(&context, report, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ContextServiceTest, OneReportOfAStreamIsTakenAtATime) {
  grpc::ClientContext watch;
  auto reader = stub_->Watch(&watch, {});
  v1::ReportRequest report;
  report.set_consumer_id(Await<agent::event::ConsumerOpened>()->consumer);
  BeSlow(true);
  grpc::Status first;
  std::thread reporter([&] {
    grpc::ClientContext context;
    v1::ReportResponse response;
    first = stub_->Report(&context, report, &response);
  });
  Await<agent::event::ConsumerReported>();
  v1::ReportResponse response;
  {
    grpc::ClientContext context;
    EXPECT_EQ(stub_->Report(&context, report, &response).error_code(),
              grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
  AwaitHeld(1);
  BeSlow(false);
  reporter.join();
  EXPECT_TRUE(first.ok());
  grpc::ClientContext context;
  EXPECT_TRUE(stub_->Report(&context, report, &response).ok());
}

TEST_F(ContextServiceTest, StreamsDroppedInHasteHoldTheirPlaceUntilTheCoreHasTakenTheirEnd) {
  BeSlow(true);
  const auto drop = [this] {
    grpc::ClientContext context;
    auto reader = stub_->Watch(&context, {});
    const auto opened = Await<agent::event::ConsumerOpened>();
    context.TryCancel();
    reader->Finish();
  };
  for (size_t i = 0; i < agent::ConsumerStreams::kMaxStreamsOfUser; ++i) drop();
  {
    grpc::ClientContext context;
    auto reader = stub_->Watch(&context, {});
    v1::MtlsContexts message;
    EXPECT_FALSE(reader->Read(&message));
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
  AwaitHeld(agent::ConsumerStreams::kMaxStreamsOfUser);
  BeSlow(false);
  drop();
}

TEST_F(ContextServiceTest, EndsEveryStreamWhenTheAgentStops) {
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  Await<agent::event::ConsumerOpened>();
  streams_.EndAll(absl::UnavailableError("the agent is stopping"));
  v1::MtlsContexts message;
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace linchpin::test
