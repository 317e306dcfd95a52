// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A TCP port on a network that may be hostile: accepts itself, keeps each connection parked until a
// whole TLS ClientHello has come on it, and only then hands it to a grpc::Server, whose own
// handshake deadline (GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS) is for what follows. gRPC 1.51 itself
// has no limit on connections, and stops listening for good when it runs out of file descriptors.
// How many stay, and who goes when it is crowded, by the address they come from: socket_places.h.
#pragma once

#include <grpcpp/server_builder.h>

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/log_limit.h"
#include "base/mutex.h"
#include "rpc/socket_places.h"

namespace linchpin::rpc {

class TcpListener {
 public:
  using Acceptor = grpc::experimental::ExternalConnectionAcceptor;

  // Binds every address that HOST:PORT stands for ("[::1]:0": any port); FAILED_PRECONDITION if one
  // cannot be had.
  static absl::StatusOr<std::unique_ptr<TcpListener>> Bind(const std::string& address);
  static absl::StatusOr<std::unique_ptr<TcpListener>> Bind(const std::string& address,
                                                           const SocketLimits& limits);
  ~TcpListener();  // stops

  int port() const { return port_; }
  // Accepts until stopped. `acceptor` is of a server that has been started.
  void Start(std::unique_ptr<Acceptor> acceptor);
  void Stop();  // closes what is parked; what is served stays

  struct Counts {
    size_t parked = 0;
    size_t served = 0;     // or being closed
    uint64_t refused = 0;  // since the start, for want of places
    uint64_t evicted = 0;  // for others, parked and served
    uint64_t overdue = 0;  // parked for too long
    uint64_t foreign = 0;  // did not speak TLS
  };
  Counts counts() const;  // any thread

 private:
  struct Connection {
    int fd = -1;  // ours: of a served one it only tells the end
    bool served = false;
    uid_t source = 0;
  };

  explicit TcpListener(const SocketLimits& limits) : places_(limits, {}) {}
  absl::Status Prepare();
  int WatchFor(int operation, int fd, uint64_t key, uint32_t events) const;

  void Run();
  int WaitMilliseconds() const;
  void Accept(int listening);
  void Welcome(int fd, uid_t source);
  void Hear(ConnectionId id, uint32_t events);
  void Serve(ConnectionId id, Connection& connection);
  void End(ConnectionId id);
  void Shed(const std::vector<ConnectionId>& evicted);
  void Housekeep();
  void Refuse(absl::string_view why);
  void Rest();

  int port_ = 0;
  std::vector<int> listening_;
  int epoll_ = -1;
  int wake_ = -1;
  int spare_ = -1;  // given up to refuse a connection when there are no more files
  std::unique_ptr<Acceptor> acceptor_;
  std::thread thread_;

  // The thread's only.
  SocketPlaces places_;
  absl::flat_hash_map<ConnectionId, Connection> connections_;
  ConnectionId last_ = 0;
  bool resting_ = false;
  absl::Duration resting_until_;
  base::LogLimit log_limit_;
  Counts counted_;

  mutable base::Mutex counts_mutex_;
  Counts counts_;
};

}  // namespace linchpin::rpc
