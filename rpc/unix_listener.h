// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A Unix socket whose callers are known: accepts itself, reads the kernel's credentials, and hands
// each connection to a grpc::Server.
#pragma once

#include <grpcpp/server.h>
#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace grpc {
class ServerContextBase;
}

namespace linchpin::rpc {

// The process at the other end when it connected, held so that its pid cannot be taken over
// unnoticed: SO_PEERPIDFD where the kernel has it, else pidfd_open with the start time compared
// before and after. Immutable; shared by the calls of a connection.
class UnixPeer {
 public:
  static absl::StatusOr<std::shared_ptr<const UnixPeer>> FromSocket(int fd);
  ~UnixPeer();
  UnixPeer(const UnixPeer&) = delete;

  pid_t pid() const { return pid_; }
  uid_t uid() const { return uid_; }
  gid_t gid() const { return gid_; }
  // The very process still runs (not a zombie, not another with its pid).
  bool IsAlive() const;
  // Readable when the process has exited; -1 never. Borrowed.
  int pidfd() const { return pidfd_; }

 private:
  UnixPeer() = default;
  pid_t pid_ = -1;
  uid_t uid_ = 0;
  gid_t gid_ = 0;
  int pidfd_ = -1;
  uint64_t start_time_ = 0;
};

class UnixListener {
 public:
  static constexpr size_t kMaxConnections = 16384;

  // Binds `path` with `mode` (a stale socket is replaced, a live one is FAILED_PRECONDITION).
  static absl::StatusOr<std::unique_ptr<UnixListener>> Bind(const std::string& path, mode_t mode);
  ~UnixListener();  // stops accepting and unlinks the socket

  // Accepts until stopped, handing connections to `server`, which must outlive the listener.
  void Start(grpc::Server* server);
  void Stop();

  // The peer of a call that came over this listener; null if unknown.
  std::shared_ptr<const UnixPeer> PeerOf(const grpc::ServerContextBase& context) const;

 private:
  explicit UnixListener(std::string path, int fd);
  void Accept();
  void HandOver(int fd);

  const std::string path_;
  const int listen_fd_;
  int wake_fd_ = -1;
  int next_fd_;  // rolling minimum, so that a number is not reused soon
  grpc::Server* server_ = nullptr;
  std::thread thread_;
  mutable base::Mutex mutex_;
  std::map<std::string, std::shared_ptr<const UnixPeer>> peers_;  // by "fd:<n>"
};

}  // namespace linchpin::rpc
