// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/local_server.h"

#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "gmock/gmock.h"
#include "linchpin/ca/v1/node.grpc.pb.h"
#include "rpc/channel.h"
#include "tests/rpc/local_fixture.h"
#include "tests/rpc/node_server.h"

namespace linchpin::rpc {
namespace {

using ::linchpin::test::CallGetTrust;
using ::linchpin::test::StatusIs;

constexpr int kDeadline = 30'000;  // ms
constexpr int kGenerousTries = 1000;

// A call of the method that waits.
class Call {
 public:
  explicit Call(const std::shared_ptr<grpc::Channel>& channel,
                absl::Duration patience = absl::Seconds(60))
      : thread_([this, channel, patience] {
          context_.set_deadline(absl::ToChronoTime(base::SystemClock().Now() + patience));
          status_ = ca::v1::NodeService::NewStub(channel)->Attest(&context_, {}, &response_);
        }) {}
  ~Call() {
    if (thread_.joinable()) thread_.join();
  }
  void Cancel() { context_.TryCancel(); }
  grpc::Status Await() {
    thread_.join();
    return status_;
  }

 private:
  grpc::ClientContext context_;
  grpc::Status status_;
  ca::v1::AttestResponse response_;
  std::thread thread_;
};

bool HangsUp(int fd) {
  char bytes[256];
  pollfd closed{fd, POLLIN, 0};
  do {
    if (poll(&closed, 1, kDeadline) != 1) return false;
  } while (recv(fd, bytes, sizeof(bytes), 0) > 0);
  return true;
}

TEST_F(LocalServerTest, KnowsTheProcessThatCalls) {
  Serve();
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  ASSERT_NE(last(), nullptr);
  EXPECT_EQ(last()->pid(), getpid());
  EXPECT_EQ(last()->uid(), getuid());
  EXPECT_TRUE(last()->IsAlive());
}

TEST_F(LocalServerTest, AnInheritedConnectionIsThatOfTheProcessThatMadeItAndEndsWithIt) {
  Connector connector(path_);
  Serve();
  const int fd = connector.TakeFd();
  const int heard = dup(fd);
  const auto channel = ChannelOver(fd);
  EXPECT_OK(CallGetTrust(channel));
  ASSERT_NE(last(), nullptr);
  EXPECT_EQ(last()->pid(), connector.pid());
  const pid_t pid = connector.pid();
  connector.End();
  EXPECT_TRUE(HangsUp(heard));
  EXPECT_THAT(CallGetTrust(channel), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(last()->pid(), pid);
  EXPECT_FALSE(last()->IsAlive());
  close(heard);
}

TEST_F(LocalServerTest, AConnectionWhoseMakerIsGoneBeforeItIsAcceptedIsRefused) {
  Connector connector(path_);
  const int fd = connector.TakeFd();
  connector.End();
  Serve();
  EXPECT_TRUE(HangsUp(fd));
  close(fd);
}

TEST_F(LocalServerTest, ConnectionsThatHaveGoneAreForgotten) {
  Serve();
  const auto count_files = [] {
    const std::filesystem::directory_iterator files("/proc/self/fd");
    return std::distance(begin(files), end(files));
  };
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  const auto before = count_files();
  for (int i = 0; i < 200; ++i) {
    const int fd = Socket();
    ASSERT_TRUE(Connect(fd, path_));
    close(fd);
  }
  int tries = 0;
  do {
    EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  } while (count_files() > before + 10 && ++tries < kGenerousTries);
  EXPECT_LT(tries, kGenerousTries);
}

TEST_F(LocalServerTest, AProcessThatRanOutOfFilesAcceptsAgainLater) {
  Serve();
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  EXPECT_OK(CallGetTrust(ChannelOver(ConnectedWhileOutOfFiles(path_))));
}

TEST_F(LocalServerTest, AConnectionWithoutACallIsClosedInTheEnd) {
  Bind(absl::Milliseconds(100));
  Serve();
  const int fd = Socket();
  ASSERT_TRUE(Connect(fd, path_));
  const std::string begin("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
  ASSERT_EQ(send(fd, begin.data(), begin.size(), MSG_NOSIGNAL), 33);
  EXPECT_TRUE(HangsUp(fd));
  close(fd);
}

TEST_F(LocalServerTest, ACallIsAnsweredFromAnyThread) {
  Serve();
  Call call(UnixChannel(path_));
  const auto [waiting, followed] = AwaitCall();
  waiting->Write(std::make_shared<ca::v1::AttestResponse>());
  waiting->Finish(absl::OkStatus());
  EXPECT_TRUE(call.Await().ok());
  EXPECT_FALSE(followed->AwaitGaveUp());
  waiting->Write(std::make_shared<ca::v1::AttestResponse>());  // nobody is there any more
  waiting->Finish(absl::OkStatus());
}

TEST_F(LocalServerTest, AnErrorReachesTheCallerWithItsText) {
  Serve();
  Call call(UnixChannel(path_));
  AwaitCall().first->Finish(absl::PermissionDeniedError("100 % no: ö\n"));
  const grpc::Status status = call.Await();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(status.error_message(), "100 % no: ö ");
}

TEST_F(LocalServerTest, ACallThatIsCancelledIsOver) {
  Serve();
  Call call(UnixChannel(path_));
  const auto [waiting, followed] = AwaitCall();
  call.Cancel();
  EXPECT_TRUE(followed->AwaitGaveUp());
  EXPECT_EQ(call.Await().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(LocalServerTest, ACallEndsAtItsDeadline) {
  Serve();
  Call call(UnixChannel(path_), absl::Seconds(1));
  const auto [waiting, followed] = AwaitCall();
  EXPECT_TRUE(followed->AwaitGaveUp());
  EXPECT_EQ(call.Await().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(LocalServerTest, ShutdownWaitsForCallsThatEnd) {
  Serve();
  Call call(UnixChannel(path_));
  const auto [waiting, followed] = AwaitCall();
  server_->Stop();
  EXPECT_FALSE(CallGetTrust(UnixChannel(path_)).ok());
  std::thread stopper([this] { server_->Shutdown(absl::Seconds(60)); });
  waiting->Finish(absl::UnavailableError("the agent is stopping"));
  EXPECT_EQ(call.Await().error_message(), "the agent is stopping");
  stopper.join();
  EXPECT_FALSE(followed->AwaitGaveUp());
}

TEST_F(LocalServerTest, ShutdownEndsCallsThatDoNot) {
  Serve();
  Call call(UnixChannel(path_));
  const auto [waiting, followed] = AwaitCall();
  server_->Shutdown(absl::ZeroDuration());
  EXPECT_TRUE(followed->AwaitGaveUp());
  EXPECT_EQ(call.Await().error_code(), grpc::StatusCode::UNAVAILABLE);
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
  waiting->Finish(absl::OkStatus());  // may outlive the server
}

}  // namespace
}  // namespace linchpin::rpc
