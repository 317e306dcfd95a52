// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A Unix socket whose callers are known: accepts itself, reads the kernel's credentials, and hands
// each connection to a grpc::Server.
#pragma once

#include <grpcpp/server.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/log_limit.h"
#include "base/mutex.h"
#include "rpc/unix_peer.h"

namespace grpc {
class ServerContextBase;
}

namespace linchpin::rpc {

class UnixListener {
 public:
  // Each takes two file descriptors. Beyond them, and beyond a user's share, connections are closed
  // as soon as they are accepted.
  static constexpr size_t kMaxConnections = 16384;
  static constexpr size_t kMaxConnectionsOfUser = 4096;

  // Binds `path` with `mode` (a stale socket is replaced, a live one is FAILED_PRECONDITION).
  static absl::StatusOr<std::unique_ptr<UnixListener>> Bind(const std::string& path, mode_t mode);
  ~UnixListener();  // stops accepting and unlinks the socket

  // Accepts until stopped, handing connections to `server`, which must outlive the listener. Build
  // it with GRPC_ARG_MAX_CONNECTION_IDLE_MS: nothing else ends a connection that stays silent.
  void Start(grpc::Server* server);
  void Stop();

  // The peer of a call that came over this listener; null if unknown or if the connection has gone.
  // Ask when the call begins.
  std::shared_ptr<const UnixPeer> PeerOf(const grpc::ServerContextBase& context) const;

 private:
  struct Connection {
    std::shared_ptr<const UnixPeer> peer;
    uint64_t inode = 0;  // of the socket: tells whether gRPC has closed it
  };

  UnixListener(std::string path, int fd, uint64_t file);
  void Accept();
  bool AcceptAll();  // false: out of file descriptors or memory, wait a little
  void HandOver(int fd);
  int MoveToNextNumber(int fd);
  bool HasRoomFor(uid_t uid);
  void Sweep(size_t most);

  const std::string path_;
  const int listen_fd_;
  const uint64_t file_;  // the inode at path_
  int wake_fd_ = -1;
  int next_fd_ = 0;  // rolling minimum, so that a number is not reused soon
  grpc::Server* server_ = nullptr;
  std::thread thread_;
  mutable base::Mutex mutex_;
  std::map<int, Connection> connections_;  // by file descriptor, which gRPC owns
  std::map<uid_t, size_t> of_user_;
  int sweep_from_ = 0;
  base::LogLimit log_limit_;
};

}  // namespace linchpin::rpc
