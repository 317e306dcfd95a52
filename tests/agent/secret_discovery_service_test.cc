// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/secret_discovery_service.h"

#include <set>
#include <thread>

#include "envoy/service/secret/v3/sds.grpc.pb.h"
#include "gmock/gmock.h"
#include "rpc/channel.h"
#include "tests/agent/secrets_fixture.h"
#include "tests/agent/streams_fixture.h"

namespace linchpin::test {
namespace {

namespace discovery = envoy::service::discovery::v3;
using agent::event::ConsumerClosed;
using agent::event::ConsumerHolds;
using agent::event::ConsumerOpened;
using agent::event::ConsumerReported;
using envoy::service::secret::v3::SecretDiscoveryService;

const TestAuthority& Authority() {
  static const TestAuthority& authority = *new TestAuthority();
  return authority;
}

// Remembers which threads asked it.
class WatchedClock final : public base::Clock {
 public:
  absl::Time Now() const override {
    base::MutexLock lock(mutex_);
    threads_.insert(std::this_thread::get_id());
    return kNow;
  }
  absl::Duration Uptime() const override { return absl::ZeroDuration(); }
  bool AskedBy(std::thread::id thread) const {
    base::MutexLock lock(mutex_);
    return threads_.contains(thread);
  }

 private:
  mutable base::Mutex mutex_;
  mutable std::set<std::thread::id> threads_;
};

class SecretServiceTest : public StreamsTest {
 protected:
  SecretServiceTest() {
    Serve(&service_);
    stub_ = SecretDiscoveryService::NewStub(rpc::UnixChannel(path()));
  }
  ~SecretServiceTest() override { Stop(); }

  std::shared_ptr<const agent::v1::MtlsContexts> Web(uint64_t epoch = 1) {
    Contexts web = Contexts(Authority()).Identity("/web", {"/a"}).Epoch(epoch);
    web.message.add_selectors("s");
    return web.Share();
  }
  static discovery::DiscoveryRequest Request(const std::string& name,
                                             const discovery::DiscoveryResponse& last = {}) {
    discovery::DiscoveryRequest request;
    request.add_resource_names(name);
    request.set_version_info(last.version_info());
    request.set_response_nonce(last.nonce());
    return request;
  }

  WatchedClock time_;
  agent::SecretDiscoveryService service_{
      {.streams = streams_, .clock = time_, .refused = [](const auto&, const auto&) {}}};
  std::unique_ptr<SecretDiscoveryService::Stub> stub_;
};

TEST_F(SecretServiceTest, AStreamHasEvidenceWhileItCarriesTrust) {
  grpc::ClientContext context;
  auto stream = stub_->StreamSecrets(&context);
  const auto opened = Await<ConsumerOpened>();
  EXPECT_EQ(opened->evidence, ca::v1::NONE);
  streams_.Deliver(opened->consumer, Web());
  discovery::DiscoveryResponse response;
  ASSERT_TRUE(stream->Write(Request("default")));
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_TRUE(stream->Write(Request("peers:inbound", response)));
  ASSERT_TRUE(stream->Read(&response));
  const auto holds = Await<ConsumerHolds>();
  EXPECT_EQ(holds->evidence, ca::v1::ACCEPTED);
  EXPECT_NE(holds->carries, "");
  ASSERT_TRUE(stream->Write(Request("peers:inbound", response)));
  const auto reported = Await<ConsumerReported>();
  EXPECT_EQ(reported->report.consumer_id(), opened->consumer);
  EXPECT_EQ(reported->report.trust_epoch(), 1u);
  EXPECT_EQ(reported->report.trust_digest(), "digest 1");
  ASSERT_TRUE(stream->Write(Request("default", response)));
  EXPECT_EQ(Await<ConsumerHolds>()->evidence, ca::v1::NONE);
}

TEST_F(SecretServiceTest, NothingIsRenderedInTheCoresThread) {
  grpc::ClientContext context;
  auto stream = stub_->StreamSecrets(&context);
  ASSERT_TRUE(stream->Write(Request("default")));
  const auto opened = Await<ConsumerOpened>();
  streams_.Deliver(opened->consumer, Web());  // this thread is the core's
  discovery::DiscoveryResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_FALSE(time_.AskedBy(std::this_thread::get_id()));
}

TEST_F(SecretServiceTest, OneWhoChangesHisMindIsReadAsFastAsTheCoreTakesIt) {
  grpc::ClientContext context;
  auto stream = stub_->DeltaSecrets(&context);
  const auto opened = Await<ConsumerOpened>();
  streams_.Deliver(opened->consumer, Web());
  discovery::DeltaDiscoveryRequest first;
  first.add_resource_names_subscribe("default");
  ASSERT_TRUE(stream->Write(first));
  discovery::DeltaDiscoveryResponse served;
  ASSERT_TRUE(stream->Read(&served));
  BeSlow(true);
  constexpr int kTimes = 12;  // whose answers need not be read
  for (int i = 0; i < kTimes; ++i) {
    discovery::DeltaDiscoveryRequest request;
    request.add_resource_names_subscribe(i % 2 == 0 ? "ROOTCA" : "default");
    request.add_resource_names_unsubscribe(i % 2 == 0 ? "default" : "ROOTCA");
    ASSERT_TRUE(stream->Write(request));
  }
  AwaitHeld(1);
  // Another is served meanwhile.
  grpc::ClientContext other;
  auto whole = stub_->StreamSecrets(&other);
  ASSERT_TRUE(whole->Write(Request("default")));
  const auto second = Await<ConsumerOpened>();
  streams_.Deliver(second->consumer, Web());
  discovery::DiscoveryResponse response;
  ASSERT_TRUE(whole->Read(&response));
  AwaitHeld(1);
  BeSlow(false);
  ca::v1::Evidence last = ca::v1::ACCEPTED;
  for (int i = 1; i < kTimes; ++i) {
    const auto holds = Await<ConsumerHolds>();
    ASSERT_TRUE(holds.has_value());
    EXPECT_NE(holds->evidence, last) << i;
    last = holds->evidence;
  }
}

TEST_F(SecretServiceTest, AStreamWhoseEvidenceCannotBeToldIsEnded) {
  grpc::ClientContext context;
  auto stream = stub_->StreamSecrets(&context);
  const auto opened = Await<ConsumerOpened>();
  streams_.Deliver(opened->consumer, Web());
  BeFull(true);
  ASSERT_TRUE(stream->Write(Request("ROOTCA")));
  discovery::DiscoveryResponse response;
  while (stream->Read(&response)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(SecretServiceTest, AFetchCountsWhenItsAnswerIsOut) {
  grpc::ClientContext context;
  discovery::DiscoveryResponse response;
  grpc::Status status;
  std::thread caller([&] { status = stub_->FetchSecrets(&context, Request("ROOTCA"), &response); });
  const auto opened = Await<ConsumerOpened>();
  EXPECT_EQ(opened->evidence, ca::v1::NONE);
  streams_.Deliver(opened->consumer, Web(7));
  caller.join();
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(response.resources_size(), 1);
  EXPECT_EQ(Await<ConsumerHolds>()->evidence, ca::v1::DELIVERED);
  EXPECT_EQ(Await<ConsumerReported>()->report.trust_epoch(), 7u);
  EXPECT_EQ(Await<ConsumerClosed>()->consumer, opened->consumer);
}

TEST_F(SecretServiceTest, AFetchOfACertificateOrOneThatWasGivenUpCountsAsNothing) {
  for (const bool given_up : {false, true}) {
    grpc::ClientContext context;
    discovery::DiscoveryResponse response;
    const auto request = Request(given_up ? "ROOTCA" : "default");
    std::thread caller([&] { (void)stub_->FetchSecrets(&context, request, &response); });
    const auto opened = Await<ConsumerOpened>();
    if (given_up) {
      context.TryCancel();
    } else {
      streams_.Deliver(opened->consumer, Web());
    }
    caller.join();
    base::MutexLock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, kStreamDeadline, [this] { return !events_.empty(); }));
    EXPECT_TRUE(std::holds_alternative<ConsumerClosed>(events_.front())) << given_up;
    events_.clear();
  }
}

}  // namespace
}  // namespace linchpin::test
