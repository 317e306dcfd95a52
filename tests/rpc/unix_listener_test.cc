// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/unix_listener.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <filesystem>

#include "gtest/gtest.h"
#include "rpc/channel.h"
#include "tests/rpc/listener_fixture.h"
#include "tests/rpc/node_server.h"

namespace linchpin::rpc {
namespace {

using ::linchpin::test::CallGetTrust;
using ::linchpin::test::StatusIs;

constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;
constexpr int kGenerousTries = 1000;

TEST_F(UnixListenerTest, KnowsTheProcessThatCalls) {
  Serve();
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  ASSERT_NE(service_.last(), nullptr);
  EXPECT_EQ(service_.last()->pid(), getpid());
  EXPECT_EQ(service_.last()->uid(), getuid());
  EXPECT_TRUE(service_.last()->IsAlive());
  EXPECT_OK(CallGetTrust(UnixChannel("unix://" + path_)));
}

TEST_F(UnixListenerTest, AnInheritedConnectionIsThatOfTheProcessThatMadeItAndEndsWithIt) {
  Connector connector(path_);
  Serve();
  const int fd = connector.TakeFd();
  const int heard = dup(fd);
  const auto channel = ChannelOver(fd);
  EXPECT_OK(CallGetTrust(channel));
  ASSERT_NE(service_.last(), nullptr);
  EXPECT_EQ(service_.last()->pid(), connector.pid());
  EXPECT_TRUE(service_.last()->IsAlive());
  const pid_t pid = connector.pid();
  connector.End();
  pollfd ended{heard, POLLHUP, 0};
  ASSERT_EQ(poll(&ended, 1, 30'000), 1);
  EXPECT_THAT(CallGetTrust(channel), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(service_.last()->pid(), pid);
  EXPECT_FALSE(service_.last()->IsAlive());
  close(heard);
}

TEST_F(UnixListenerTest, AZombieIsNotAlive) {
  Connector connector(path_);
  Serve();
  const auto channel = ChannelOver(connector.TakeFd());
  EXPECT_OK(CallGetTrust(channel));
  ASSERT_NE(service_.last(), nullptr);
  kill(connector.pid(), SIGKILL);
  pollfd exited{service_.last()->pidfd(), POLLIN, 0};
  ASSERT_EQ(poll(&exited, 1, 30'000), 1);
  EXPECT_FALSE(service_.last()->IsAlive());
}

TEST_F(UnixListenerTest, AConnectionWhoseMakerIsGoneBeforeItIsAcceptedIsRefused) {
  Connector connector(path_);
  const int fd = connector.TakeFd();
  connector.End();
  Serve();
  pollfd closed{fd, POLLIN, 0};
  ASSERT_EQ(poll(&closed, 1, 30'000), 1);
  char byte;
  EXPECT_LE(recv(fd, &byte, 1, 0), 0);
  close(fd);
}

TEST_F(UnixListenerTest, NumbersAreNotReusedSoon) {
  Serve();
  for (int i = 0; i < 50; ++i) EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  EXPECT_EQ(service_.names().size(), 50u);
}

TEST_F(UnixListenerTest, ConnectionsThatHaveGoneAreForgotten) {
  Serve();
  const auto count_pidfds = [] {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code error;
      const std::string target = std::filesystem::read_symlink(entry.path(), error);
      if (target.find("pidfd") != std::string::npos) ++count;
    }
    return count;
  };
  for (int i = 0; i < 200; ++i) {
    const int fd = Socket();
    ASSERT_TRUE(Connect(fd, path_));
    close(fd);
  }
  int tries = 0;
  do {
    EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  } while (count_pidfds() > 10 && ++tries < kGenerousTries);
  EXPECT_LT(tries, kGenerousTries);
}

TEST_F(UnixListenerTest, AProcessThatRanOutOfFilesAcceptsAgainLater) {
  Serve();
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  const int fd = Socket();
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 3;
  setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_TRUE(Connect(fd, path_));
  pollfd refused{fd, POLLIN, 0};
  EXPECT_EQ(poll(&refused, 1, 250), 0);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_OK(CallGetTrust(ChannelOver(fd)));
}

TEST_F(UnixListenerTest, ASilentConnectionIsClosedInTheEnd) {
  Serve();
  const int fd = Socket();
  ASSERT_TRUE(Connect(fd, path_));
  char bytes[256];
  pollfd closed{fd, POLLIN, 0};
  do {
    ASSERT_EQ(poll(&closed, 1, 30'000), 1) << "it is still open";
  } while (recv(fd, bytes, sizeof(bytes), 0) > 0);
  close(fd);
}

TEST_F(UnixListenerTest, StopsAndRemovesItsSocket) {
  Serve();
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  listener_->Stop();
  listener_.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

mode_t ModeOf(const std::string& path) {
  struct stat found {};
  EXPECT_EQ(stat(path.c_str(), &found), 0);
  return found.st_mode & 07777;
}

TEST(UnixListenerBind, GivesTheSocketItsMode) {
  test::TempDir dir;
  ASSERT_OK_AND_ASSIGN(const auto admin, UnixListener::Bind(dir.Join("a"), 0600));
  ASSERT_OK_AND_ASSIGN(const auto open, UnixListener::Bind(dir.Join("b"), 0666));
  EXPECT_EQ(ModeOf(dir.Join("a")), 0600u);
  EXPECT_EQ(ModeOf(dir.Join("b")), 0666u);
}

TEST(UnixListenerBind, ReplacesAStaleSocketButNeverALiveOne) {
  test::TempDir dir;
  const int stale = Socket();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, dir.Join("s").c_str());
  ASSERT_EQ(bind(stale, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(stale);
  ASSERT_OK_AND_ASSIGN(const auto listener, UnixListener::Bind(dir.Join("s"), 0600));
  EXPECT_THAT(UnixListener::Bind(dir.Join("s"), 0600).status(),
              StatusIs(kPrecondition, "another process listens on " + dir.Join("s")));
}

TEST(UnixListenerBind, WithoutAFileToEndItByItIsRefused) {
  test::TempDir dir;
  const int next = dup(0);
  close(next);
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit one_more = before;
  one_more.rlim_cur = static_cast<rlim_t>(next) + 1;
  setrlimit(RLIMIT_NOFILE, &one_more);
  const absl::Status status = UnixListener::Bind(dir.Join("s"), 0600).status();
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, "Too many open files"));
  EXPECT_FALSE(std::filesystem::exists(dir.Join("s")));
}

TEST(UnixListenerBind, NeverRemovesWhatIsNoSocket) {
  test::TempDir dir;
  std::filesystem::create_directory(dir.Join("d"));
  EXPECT_THAT(UnixListener::Bind(dir.Join("d"), 0600).status(),
              StatusIs(kPrecondition, "is no socket"));
  EXPECT_TRUE(std::filesystem::exists(dir.Join("d")));
}

TEST(UnixListenerBind, RefusesAPathThatNoSocketCanHave) {
  for (const std::string& path :
       {std::string("relative"), std::string(), "/tmp/" + std::string(200, 'x')}) {
    EXPECT_THAT(UnixListener::Bind(path, 0600).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, "absolute path"));
  }
  EXPECT_THAT(UnixListener::Bind("/nonexistent/s", 0600).status(),
              StatusIs(absl::StatusCode::kNotFound, "/nonexistent/s"));
}

}  // namespace
}  // namespace linchpin::rpc
