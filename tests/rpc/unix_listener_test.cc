// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/unix_listener.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/server_builder.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <set>

#include "gtest/gtest.h"
#include "rpc/channel.h"
#include "tests/rpc/node_server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::rpc {
namespace {

using ::linchpin::test::CallGetTrust;
using ::linchpin::test::StatusIs;

constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;
constexpr int kGenerousTries = 1000;

int Socket() { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }

bool Connect(int fd, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

// A child process whose only deed is a connection, which the parent then uses: what a parent that
// leaves its child a connection looks like from the listener.
class Connector {
 public:
  explicit Connector(const std::string& path) {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair_), 0);
    pid_ = fork();
    if (pid_ == 0) {
      const int fd = Socket();
      if (!Connect(fd, path) || !SendFd(pair_[1], fd)) _exit(1);
      while (true) pause();
    }
  }
  ~Connector() {
    if (pid_ > 0) End();
    close(pair_[0]);
    close(pair_[1]);
  }

  pid_t pid() const { return pid_; }
  void End() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  int TakeFd() const {
    char byte;
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    EXPECT_EQ(recvmsg(pair_[0], &message, MSG_CMSG_CLOEXEC), 1);
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    return fd;
  }

 private:
  static bool SendFd(int to, int fd) {
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    return sendmsg(to, &message, 0) == 1;
  }

  int pair_[2];
  pid_t pid_ = -1;
};

std::shared_ptr<grpc::Channel> ChannelOver(int fd) {
  return grpc::CreateInsecureChannelFromFd("connection", fd);
}

// Keeps who called.
class Service final : public ca::v1::NodeService::CallbackService {
 public:
  explicit Service(UnixListener** listener) : listener_(listener) {}

  std::shared_ptr<const UnixPeer> last() const {
    base::MutexLock lock(mutex_);
    return last_;
  }
  std::set<std::string> names() const {
    base::MutexLock lock(mutex_);
    return names_;
  }

 private:
  grpc::ServerUnaryReactor* GetTrust(grpc::CallbackServerContext* context,
                                     const ca::v1::GetTrustRequest*,
                                     ca::v1::GetTrustResponse*) override {
    {
      base::MutexLock lock(mutex_);
      last_ = (*listener_)->PeerOf(*context);
      names_.insert(context->peer());
    }
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  UnixListener** const listener_;
  mutable base::Mutex mutex_;
  std::shared_ptr<const UnixPeer> last_;
  std::set<std::string> names_;
};

class UnixListenerTest : public ::testing::Test {
 protected:
  UnixListenerTest() : path_(dir_.Join("agent.sock")), service_(&raw_) {
    auto listener = UnixListener::Bind(path_, 0666);
    EXPECT_OK(listener);
    listener_ = *std::move(listener);
    raw_ = listener_.get();
  }
  ~UnixListenerTest() override {
    if (server_ == nullptr) return;
    server_->Shutdown(absl::ToChronoTime(base::SystemClock().Now()));
    listener_.reset();
    server_->Wait();
  }
  // After a test has made its child processes: threads begin here.
  void Serve() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 1'000);
    server_ = builder.BuildAndStart();
    listener_->Start(server_.get());
  }

  test::TempDir dir_;
  const std::string path_;
  std::unique_ptr<UnixListener> listener_;
  UnixListener* raw_ = nullptr;
  Service service_;
  std::unique_ptr<grpc::Server> server_;
};

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
