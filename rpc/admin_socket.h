// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The operators' Unix socket before a grpc::Server. Its mode lets in this process's own user and
// root, who could do anything to the process as it is: they are counted, and not held off as the
// callers of a LocalServer are. What gRPC 1.51 does not say is who calls.
#pragma once

#include <grpcpp/server.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/log_limit.h"
#include "base/mutex.h"
#include "rpc/unix_socket.h"

namespace linchpin::rpc {

class AdminSocket {
 public:
  // As the kernel noted when the connection was made, whoever holds it now.
  struct Caller {
    uid_t uid = 0;
    pid_t pid = 0;  // 0: of another pid namespace
  };
  static constexpr size_t kMostConnections = 256;  // one more is closed

  // Binds `path` with mode 0600 (a stale socket is replaced, a live one is FAILED_PRECONDITION).
  static absl::StatusOr<std::unique_ptr<AdminSocket>> Bind(const std::string& path);
  ~AdminSocket();  // stops, and unlinks the socket

  // Accepts until stopped, handing connections to `server`, which is not shut down before Stop().
  // Build it with GRPC_ARG_MAX_CONNECTION_IDLE_MS: nothing else ends one on which no call is made.
  void Start(grpc::Server* server);
  // Accepts no more: `server` is given nothing after it. What it has stays until it closes it.
  void Stop();

  // Whose call this is; nothing if the connection has gone. Any thread.
  std::optional<Caller> CallerOf(const grpc::ServerContextBase& context) const;

 private:
  struct Handed {
    Caller caller;
    uint64_t inode = 0;
  };

  AdminSocket(std::unique_ptr<UnixSocket> socket, int wake);
  void Run();
  bool Accept();  // false: nobody can be accepted for now
  void Hand(int fd);
  int Renumber(int fd);
  bool Remember(int number, const Handed& handed);
  void Log(absl::string_view what);

  const std::unique_ptr<UnixSocket> socket_;
  const int wake_;
  const int end_;  // of the numbers that connections are given
  grpc::Server* server_ = nullptr;
  std::thread thread_;
  int next_ = 0;  // of the thread alone
  base::LogLimit log_limit_;

  // By number (file descriptor), as gRPC names a call's connection; it owns the file, and closes it
  // when it likes.
  mutable base::Mutex mutex_;
  std::map<int, Handed> handed_;
};

}  // namespace linchpin::rpc
