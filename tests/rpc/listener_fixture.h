// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A listener with a real gRPC server behind it, and callers that make their own connections.
#pragma once

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/server_builder.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "gtest/gtest.h"
#include "linchpin/ca/v1/node.grpc.pb.h"
#include "rpc/unix_listener.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::rpc {

inline int Socket() { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }

inline bool Connect(int fd, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

// A child process whose only deed is a connection, which the parent then uses: what a parent that
// leaves its child a connection looks like from the listener.
class Connector {
 public:
  // As `uid`, where that is not this process's own.
  explicit Connector(const std::string& path, uid_t uid = getuid()) {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair_), 0);
    pid_ = fork();
    if (pid_ == 0) {
      const int fd = Socket();
      if (uid != getuid() && (setgid(uid) != 0 || setuid(uid) != 0)) _exit(2);
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
  int pair_[2];
  pid_t pid_ = -1;
};

inline std::shared_ptr<grpc::Channel> ChannelOver(int fd) {
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
  UnixListenerTest() : UnixListenerTest(SocketLimits::ForOpenFiles(1024)) {}
  explicit UnixListenerTest(const SocketLimits& limits)
      : path_(dir_.Join("agent.sock")), service_(&raw_) {
    auto listener = UnixListener::Bind(path_, 0666, limits);
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
  void Serve(int idle_milliseconds = 1'000) {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, idle_milliseconds);
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

}  // namespace linchpin::rpc
