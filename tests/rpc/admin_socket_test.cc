// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/admin_socket.h"

#include <grpcpp/server_builder.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "gtest/gtest.h"
#include "linchpin/ca/v1/node.grpc.pb.h"
#include "rpc/channel.h"
#include "tests/rpc/callers.h"
#include "tests/rpc/node_server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::rpc {
namespace {

using ::linchpin::test::CallGetTrust;
using ::linchpin::test::StatusIs;

constexpr int kSoonMilliseconds = 30'000;

// Keeps who called, as the socket before a real gRPC server says.
class AdminSocketTest : public ::testing::Test, public ca::v1::NodeService::CallbackService {
 protected:
  AdminSocketTest() {
    auto socket = AdminSocket::Bind(path_);
    EXPECT_OK(socket);
    socket_ = *std::move(socket);
  }
  ~AdminSocketTest() override {
    socket_->Stop();
    if (server_ != nullptr) server_->Shutdown(absl::ToChronoTime(base::SystemClock().Now()));
  }
  // After a test has made its child processes: threads begin here.
  void Serve() {
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 1'000);
    server_ = builder.BuildAndStart();
    socket_->Start(server_.get());
  }

  struct Seen {
    std::optional<AdminSocket::Caller> last;
    std::set<std::string> connections;
  };
  Seen seen() {
    base::MutexLock lock(mutex_);
    return seen_;
  }

  const test::TempDir dir_;
  const std::string path_ = dir_.Join("admin.sock");
  std::unique_ptr<AdminSocket> socket_;

 private:
  grpc::ServerUnaryReactor* GetTrust(grpc::CallbackServerContext* context,
                                     const ca::v1::GetTrustRequest*,
                                     ca::v1::GetTrustResponse*) override {
    {
      base::MutexLock lock(mutex_);
      seen_.last = socket_->CallerOf(*context);
      seen_.connections.insert(context->peer());
    }
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  base::Mutex mutex_;
  Seen seen_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(AdminSocketTest, KnowsWhoCalls) {
  Serve();
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  ASSERT_TRUE(seen().last.has_value());
  EXPECT_EQ(seen().last->uid, getuid());
  EXPECT_EQ(seen().last->pid, getpid());
}

TEST_F(AdminSocketTest, AConnectionIsItsMakersWhoeverHoldsIt) {
  Connector connector(path_);
  Serve();
  EXPECT_OK(CallGetTrust(ChannelOver(connector.TakeFd())));
  ASSERT_TRUE(seen().last.has_value());
  EXPECT_EQ(seen().last->pid, connector.pid());
}

TEST_F(AdminSocketTest, AConnectionOfAnotherUserIsThatUsers) {
  if (getuid() != 0) GTEST_SKIP() << "another user is only for root to be";
  constexpr uid_t kNobody = 65534;
  std::filesystem::permissions(dir_.Join(""), std::filesystem::perms::all);
  std::filesystem::permissions(path_, std::filesystem::perms::all);
  Connector connector(path_, kNobody);
  Serve();
  EXPECT_OK(CallGetTrust(ChannelOver(connector.TakeFd())));
  ASSERT_TRUE(seen().last.has_value());
  EXPECT_EQ(seen().last->uid, kNobody);
}

TEST_F(AdminSocketTest, NoConnectionHasTheNameOfAnEarlierOne) {
  Serve();
  for (int i = 0; i < 50; ++i) EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  EXPECT_EQ(seen().connections.size(), 50u);
}

// Whether the other end has closed it; waits for that.
bool IsClosed(int fd) {
  char bytes[256];
  pollfd closed{fd, POLLIN, 0};
  do {
    if (poll(&closed, 1, kSoonMilliseconds) != 1) return false;
  } while (recv(fd, bytes, sizeof(bytes), 0) > 0);
  return true;
}

TEST_F(AdminSocketTest, ASilentConnectionIsClosedInTheEnd) {
  Serve();
  const int fd = Socket();
  ASSERT_TRUE(Connect(fd, path_));
  EXPECT_TRUE(IsClosed(fd));
  close(fd);
}

TEST_F(AdminSocketTest, HasSoManyConnectionsAndTakesOthersWhenTheyHaveGone) {
  Serve();
  std::vector<int> held;
  for (size_t i = 0; i < AdminSocket::kMostConnections; ++i) {
    held.push_back(Socket());
    ASSERT_TRUE(Connect(held.back(), path_));
  }
  const int more = Socket();
  ASSERT_TRUE(Connect(more, path_));
  EXPECT_TRUE(IsClosed(more));
  for (const int fd : held) EXPECT_TRUE(IsClosed(fd));  // they were silent
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  for (const int fd : held) close(fd);
  close(more);
}

TEST_F(AdminSocketTest, AProcessThatRanOutOfFilesAcceptsAgainLater) {
  Serve();
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  EXPECT_OK(CallGetTrust(ChannelOver(ConnectedWhileOutOfFiles(path_))));
}

TEST_F(AdminSocketTest, WhenItHasStoppedNobodyIsAcceptedAndWhenItIsGoneSoIsItsFile) {
  Serve();
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  socket_->Stop();
  const int late = Socket();
  ASSERT_TRUE(Connect(late, path_));  // in the backlog
  socket_.reset();
  EXPECT_TRUE(IsClosed(late));
  close(late);
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_OK_AND_ASSIGN(socket_, AdminSocket::Bind(path_));
}

TEST_F(AdminSocketTest, IsForItsOwnUserAlone) {
  struct stat found {};
  ASSERT_EQ(stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600u);
}

}  // namespace
}  // namespace linchpin::rpc
