// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/unix_peer.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "rpc/unix_socket.h"
#include "tests/rpc/callers.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::rpc {
namespace {

using ::linchpin::test::IsOkAndHolds;
using ::linchpin::test::StatusIs;

TEST(ParseStartTime, CountsFieldsAfterTheNameWhateverTheNameIs) {
  const std::string fields =
      " S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 987654 1000 20 18446744073709551615";
  EXPECT_THAT(ParseStartTime("42 (cat)" + fields), IsOkAndHolds(987654u));
  EXPECT_THAT(ParseStartTime("42 (a) R 1 1 (b c) )" + fields), IsOkAndHolds(987654u));
  EXPECT_THAT(ParseStartTime("42 ()" + fields), IsOkAndHolds(987654u));
}

TEST(ParseStartTime, RefusesWhatTheKernelWouldNotWrite) {
  for (const char* text : {"", "42", "42 (cat", "42 (cat) S 1", ")",
                           "42 (c) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 x 1000"}) {
    EXPECT_THAT(ParseStartTime(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(UnixPeer, IsThisProcessWhenItTalksToItself) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  ASSERT_OK_AND_ASSIGN(const auto credentials, PeerCredentials::FromSocket(pair[0]));
  ASSERT_OK_AND_ASSIGN(const auto peer, UnixPeer::Hold(pair[0], credentials));
  EXPECT_EQ(peer->pid(), getpid());
  EXPECT_EQ(peer->uid(), getuid());
  EXPECT_EQ(peer->gid(), getgid());
  EXPECT_TRUE(peer->IsAlive());
  EXPECT_GT(peer->start_time(), 0u);
  close(pair[0]);
  close(pair[1]);
}

TEST(UnixPeer, IsNotAliveAsAZombie) {
  test::TempDir dir;
  ASSERT_OK_AND_ASSIGN(const auto socket, UnixSocket::Bind(dir.Join("s"), 0600));
  Connector connector(dir.Join("s"));
  pollfd called{socket->fd(), POLLIN, 0};
  ASSERT_EQ(poll(&called, 1, 30'000), 1);
  const int fd = accept4(socket->fd(), nullptr, nullptr, SOCK_CLOEXEC);
  ASSERT_OK_AND_ASSIGN(const auto credentials, PeerCredentials::FromSocket(fd));
  ASSERT_OK_AND_ASSIGN(const auto peer, UnixPeer::Hold(fd, credentials));
  EXPECT_TRUE(peer->IsAlive());
  kill(connector.pid(), SIGKILL);
  pollfd exited{peer->pidfd(), POLLIN, 0};
  ASSERT_EQ(poll(&exited, 1, 30'000), 1);
  EXPECT_FALSE(peer->IsAlive());
  close(fd);
}

TEST(UnixPeer, IsNotToldFromSomethingElse) {
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  EXPECT_THAT(PeerCredentials::FromSocket(pipes[0]), StatusIs(absl::StatusCode::kInternal));
  close(pipes[0]);
  close(pipes[1]);
}

TEST(ParseUser, IsTheEffectiveOne) {
  EXPECT_THAT(ParseUser("Name:\tcat\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n"), IsOkAndHolds(2u));
  EXPECT_THAT(ParseUser("Name:\tUid:\\nUid: 9 9\nUid:\t0\t4294967295\t0\t0\n"),
              IsOkAndHolds(4294967295u));
  for (const char* text : {"", "Uid:", "Uid:\t1", "Uid:\t1\tx\t1\t1", "xUid:\t1\t1\t1\t1"}) {
    EXPECT_THAT(ParseUser(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

// A kernel that knows the process of a connection only by its number (before Linux 6.5), and in
// which that number is given to others.
class Numbers final : public ProcessTable {
 public:
  bool SocketsHoldProcesses() const override { return sockets_hold; }
  absl::StatusOr<int> Open(int, pid_t pid) const override {
    if (gone) return absl::FailedPreconditionError("gone");
    return KernelProcessTable().Open(socket_of_opened, pid);
  }
  absl::StatusOr<std::string> Read(pid_t, absl::string_view file) const override {
    if (gone) return absl::NotFoundError("gone");
    if (file == "status") return absl::StrCat("Uid:\t0\t", user, "\t0\t0\n");
    return absl::StrCat("1 (x) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 ", start_time,
                        " 1000 20 1");
  }

  bool sockets_hold = false;
  bool gone = false;
  uid_t user = getuid();
  uint64_t start_time = 100;
  int socket_of_opened = -1;
};

class UnixPeerByNumberTest : public ::testing::Test {
 protected:
  UnixPeerByNumberTest() {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair_), 0);
    numbers_.socket_of_opened = pair_[0];
  }
  ~UnixPeerByNumberTest() override {
    close(pair_[0]);
    close(pair_[1]);
  }
  absl::Status Hold(const PeerCredentials& credentials) {
    return UnixPeer::Hold(pair_[0], credentials, nullptr, numbers_).status();
  }

  int pair_[2];
  Numbers numbers_;
};

TEST_F(UnixPeerByNumberTest, IsHeldWhileItIsTheSame) {
  ASSERT_OK_AND_ASSIGN(const auto credentials, PeerCredentials::FromSocket(pair_[0], numbers_));
  EXPECT_EQ(credentials.start_time, 100u);
  EXPECT_OK(Hold(credentials));
}

TEST_F(UnixPeerByNumberTest, AnotherWithItsNumberIsNotHeld) {
  ASSERT_OK_AND_ASSIGN(const auto credentials, PeerCredentials::FromSocket(pair_[0], numbers_));
  numbers_.start_time = 101;
  EXPECT_THAT(Hold(credentials), StatusIs(absl::StatusCode::kFailedPrecondition, "has exited"));
}

TEST_F(UnixPeerByNumberTest, AnotherUsersProcessWithItsNumberIsRefusedAtOnce) {
  numbers_.user = getuid() + 1;
  EXPECT_THAT(PeerCredentials::FromSocket(pair_[0], numbers_),
              StatusIs(absl::StatusCode::kFailedPrecondition, "has exited"));
}

TEST_F(UnixPeerByNumberTest, OneThatHasGoneIsRefused) {
  ASSERT_OK_AND_ASSIGN(const auto credentials, PeerCredentials::FromSocket(pair_[0], numbers_));
  numbers_.gone = true;
  EXPECT_THAT(Hold(credentials), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(PeerCredentials::FromSocket(pair_[0], numbers_),
              StatusIs(absl::StatusCode::kFailedPrecondition, "has exited"));
}

TEST_F(UnixPeerByNumberTest, WhereSocketsHoldProcessesTheirNumberDoesNotMatter) {
  numbers_.sockets_hold = true;
  numbers_.user = getuid() + 1;
  ASSERT_OK_AND_ASSIGN(const auto credentials, PeerCredentials::FromSocket(pair_[0], numbers_));
  EXPECT_EQ(credentials.start_time, 0u) << "it is not looked up before it is needed";
  EXPECT_OK(Hold(credentials));
}

TEST(UnixPeer, SaysWhenItIsReleased) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  ASSERT_OK_AND_ASSIGN(const auto credentials, PeerCredentials::FromSocket(pair[0]));
  int released = 0;
  ASSERT_OK_AND_ASSIGN(auto peer, UnixPeer::Hold(pair[0], credentials, [&] { ++released; }));
  EXPECT_EQ(released, 0);
  peer.reset();
  EXPECT_EQ(released, 1);
  close(pair[0]);
  close(pair[1]);
}

}  // namespace
}  // namespace linchpin::rpc
