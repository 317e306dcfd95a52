// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Callers of a local socket that make their own connections.
#pragma once

#include <grpcpp/create_channel_posix.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>

#include "gtest/gtest.h"

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

// While it lives, this process opens no file whose descriptor would be `first` or more.
class OutOfFiles {
 public:
  explicit OutOfFiles(rlim_t first = 3) {
    getrlimit(RLIMIT_NOFILE, &before_);
    rlimit none = before_;
    none.rlim_cur = first;
    setrlimit(RLIMIT_NOFILE, &none);
  }
  ~OutOfFiles() { setrlimit(RLIMIT_NOFILE, &before_); }
  OutOfFiles(const OutOfFiles&) = delete;
  OutOfFiles& operator=(const OutOfFiles&) = delete;

 private:
  rlimit before_{};
};

// A connection to `path` that came while its server, which is this process, was out of files.
inline int ConnectedWhileOutOfFiles(const std::string& path) {
  const int fd = Socket();
  const OutOfFiles none;
  EXPECT_TRUE(Connect(fd, path));
  pollfd refused{fd, POLLIN, 0};
  EXPECT_EQ(poll(&refused, 1, 250), 0);
  return fd;
}

}  // namespace linchpin::rpc
