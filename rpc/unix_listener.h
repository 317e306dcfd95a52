// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A Unix socket whose callers are known, and may be hostile: accepts itself, keeps each connection
// parked until an HTTP/2 client has begun to speak on it, reads the kernel's credentials, and hands
// it to a grpc::Server. How many stay, and who goes when it is crowded: rpc/socket_places.h.
#pragma once

#include <grpcpp/server.h>
#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/log_limit.h"
#include "base/mutex.h"
#include "rpc/served_sockets.h"
#include "rpc/socket_places.h"
#include "rpc/unix_peer.h"
#include "rpc/unix_socket.h"

namespace linchpin::rpc {

class UnixListener {
 public:
  // Binds `path` with `mode` (a stale socket is replaced, a live one is FAILED_PRECONDITION).
  static absl::StatusOr<std::unique_ptr<UnixListener>> Bind(const std::string& path, mode_t mode);
  // As above, with other limits than those that follow from the open files this process may have.
  static absl::StatusOr<std::unique_ptr<UnixListener>> Bind(const std::string& path, mode_t mode,
                                                            const SocketLimits& limits);
  ~UnixListener();  // stops, closes what is still open, and unlinks the socket

  // Accepts until stopped, handing connections to `server`, which must outlive the listener. Build
  // it with GRPC_ARG_MAX_CONNECTION_IDLE_MS: nothing else ends one on which no call is made. A
  // connection ends with the process that made it.
  void Start(grpc::Server* server);
  void Stop();  // closes what is parked; what is served stays

  // The peer of a call that came over this listener; null if unknown or if the connection has gone.
  // Ask when the call begins.
  std::shared_ptr<const UnixPeer> PeerOf(const grpc::ServerContextBase& context) const {
    return served_.PeerOf(context);
  }

  struct Counts {
    size_t parked = 0;
    size_t served = 0;     // or being closed
    uint64_t refused = 0;  // since the start, for want of places or of a caller
    uint64_t evicted = 0;  // for others, parked and served
    uint64_t overdue = 0;  // parked for too long
    uint64_t foreign = 0;  // did not speak HTTP/2
  };
  Counts counts() const;  // any thread

 private:
  struct Connection {
    int fd = -1;
    int number = -1;  // gRPC's; -1 while parked
    uint64_t inode = 0;
    PeerCredentials caller;
    std::shared_ptr<const UnixPeer> peer;  // of a served one
  };
  // gRPC has been told by shutdown() to close its number, and has not yet.
  struct Closing {
    ConnectionId id;
    int number;
    uint64_t inode;
  };
  // Whose handles were let go, in any thread.
  struct Released {
    base::Mutex mutex;
    std::vector<uid_t> users;
  };

  UnixListener(std::unique_ptr<UnixSocket> socket, const SocketLimits& limits);
  absl::Status Prepare();
  int WatchFor(int operation, int fd, uint64_t key, uint32_t events);

  void Run();
  int WaitMilliseconds() const;
  void Accept();
  int AcceptOne();
  void Welcome(int fd);
  void Hear(ConnectionId id, uint32_t events);
  void Serve(ConnectionId id, Connection& connection);
  void Drop(ConnectionId id);    // a parked one
  void HangUp(ConnectionId id);  // on a served one; its end is heard later
  void Shed(const std::vector<ConnectionId>& evicted);
  void EndServed(ConnectionId id);
  void Housekeep();
  void CheckClosing();
  void Publish();
  void Rest(absl::string_view why);
  void Refuse(absl::string_view why);

  const std::unique_ptr<UnixSocket> socket_;
  int wake_ = -1;
  int epoll_ = -1;
  int spare_ = -1;  // given up to accept, and close, when files run out
  grpc::Server* server_ = nullptr;
  std::thread thread_;

  // Of the thread alone.
  SocketPlaces places_;
  ConnectionId last_ = 0;
  absl::flat_hash_map<ConnectionId, std::unique_ptr<Connection>> connections_;
  std::deque<Closing> closing_;
  absl::Duration closing_pause_;
  absl::Duration resting_until_ = -absl::InfiniteDuration();
  bool resting_ = false;
  Counts counted_;

  ServedSockets served_;
  const std::shared_ptr<Released> released_;
  base::LogLimit log_limit_;
  mutable base::Mutex counts_mutex_;
  Counts counts_;
};

}  // namespace linchpin::rpc
