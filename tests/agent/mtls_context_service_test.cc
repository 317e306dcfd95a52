// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/mtls_context_service.h"

#include <thread>

#include "gmock/gmock.h"
#include "linchpin/agent/v1/mtls_context.grpc.pb.h"
#include "rpc/channel.h"
#include "tests/agent/streams_fixture.h"

namespace linchpin::test {
namespace {

namespace v1 = agent::v1;

class ContextServiceTest : public StreamsTest {
 protected:
  ContextServiceTest()
      : service_(streams_,
                 [this](v1::ReportRequest report, std::function<void(absl::Status)> done) {
                   Put(agent::event::ConsumerReported{std::move(report)});
                   TakenOrHeld([done = std::move(done)] { done(absl::OkStatus()); });
                 }) {
    Serve(&service_);
    stub_ = v1::MtlsContextService::NewStub(rpc::UnixChannel(path()));
  }
  ~ContextServiceTest() override { Stop(); }

  agent::ContextService service_;
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

TEST_F(ContextServiceTest, OneWhoCanBeLookedAtAtOnceWaitsForNobodyOfHisUser) {
  attestor_.Hold(true);
  grpc::ClientContext stuck;
  auto waiting = stub_->Watch(&stuck, {});
  attestor_.AwaitLooks(1);
  attestor_.AnswerAtOnce();
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  const auto opened = Await<agent::event::ConsumerOpened>();
  EXPECT_EQ(opened->selectors, std::vector<std::string>{"s"});
  streams_.Deliver(opened->consumer, Message({"s"}, 7));
  v1::MtlsContexts message;
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.trust_epoch(), 7u);
  EXPECT_EQ(attestor_.looks(), 1);
  attestor_.Hold(false);
}

TEST_F(ContextServiceTest, OneWhoIsRefusedAtOnceIsToldWhy) {
  attestor_.AnswerAtOnce();
  attestor_.Fail(absl::UnauthenticatedError("it has ended"));
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  v1::MtlsContexts message;
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_message(), "it has ended");
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

TEST_F(ContextServiceTest, TheEndOfAStreamIsToldHoweverMuchWaits) {
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  const auto opened = Await<agent::event::ConsumerOpened>();
  BeFull(true);
  context.TryCancel();
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
