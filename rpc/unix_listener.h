// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A Unix socket whose callers are known, and may be hostile: accepts itself, keeps each connection
// parked until an HTTP/2 client has begun to speak on it, and hands it to a grpc::Server, which is
// given a socket of ours in its place: what goes through is watched. How many stay, and who goes
// when it is crowded: rpc/socket_places.h; what a client may do: rpc/http2_gate.h.
#pragma once

#include <grpcpp/server.h>
#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/log_limit.h"
#include "base/mutex.h"
#include "rpc/http2_gate.h"
#include "rpc/relay.h"
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
  // Closes what is parked and accepts no more: `server` is given nothing after it. What is served
  // stays until the server closes it or the listener goes.
  void Stop();

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
    uint64_t abusive = 0;  // spoke more of it than is allowed
  };
  Counts counts() const;  // any thread

 private:
  struct Served {
    Served(int caller, int server, std::shared_ptr<const UnixPeer> process, int given)
        : relay(caller, server),
          peer(std::move(process)),
          number(given),
          inode(ServedSockets::InodeOf(given)),
          caller_events(relay.CallerEvents()),
          server_events(relay.ServerEvents()) {}
    Relay relay;
    Http2Gate gate;
    const std::shared_ptr<const UnixPeer> peer;
    const int number;      // the end that gRPC owns
    const uint64_t inode;  // of that end
    uint32_t caller_events;
    uint32_t server_events;
    bool closing = false;  // hung up on the caller; gRPC has not yet closed its end
    bool waits = false;    // its user has sent too much
  };
  struct Connection {
    int fd = -1;
    PeerCredentials caller;
    std::unique_ptr<Served> served;  // owns `fd`; null: parked
  };
  // What an epoll event is about: which connection (from 1 on), and which of its files.
  enum Source : uint64_t { kCaller, kServer, kProcess };
  static constexpr int kSourceBits = 2;
  static uint64_t Key(ConnectionId id, Source source) { return id << kSourceBits | source; }
  static constexpr uint64_t kWakeKey = 0;
  static constexpr uint64_t kListenKey = 1;

  // What a user who is not trusted sends, on all its connections. Of one who goes over it nothing
  // is heard for a while: to hang up would hit whichever of its processes called last.
  struct Spent {
    Allowance calls;
    Allowance frames;
    absl::Duration FreeAt() const { return std::max(calls.FreeAt(), frames.FreeAt()); }
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
  bool Obey();  // false: end
  void StopAccepting();
  int WaitMilliseconds() const;
  void Accept();
  int AcceptOne();
  void Welcome(int fd);
  void OnEvent(ConnectionId id, uint64_t key, uint32_t events);
  void Hear(ConnectionId id, Connection& connection, uint32_t events);
  void Serve(ConnectionId id, Connection& connection);
  void Pump(ConnectionId id, Served& served, bool server_gone);
  void Want(int fd, uint64_t key, uint32_t events, uint32_t& wanted);
  Spent& SpentBy(uid_t uid);
  void HearAgain(absl::Duration now);
  void Drop(ConnectionId id);  // a parked one
  void Shed(const std::vector<ConnectionId>& evicted);
  void EndServed(ConnectionId id);
  void Forget(ConnectionId id);
  void Housekeep();
  void Used(size_t count);
  void GiveMemoryBack(absl::Duration now);
  void Publish();
  void Rest(absl::string_view why);
  void Refuse(absl::string_view why);
  void Log(absl::string_view why);

  const std::unique_ptr<UnixSocket> socket_;
  int wake_ = -1;
  int epoll_ = -1;
  int spare_ = -1;  // given up to accept, and close, when files run out
  grpc::Server* server_ = nullptr;
  std::thread thread_;
  base::Mutex order_mutex_;
  base::CondVar obeyed_;
  enum class Order { kServe, kStop, kEnd } order_ = Order::kServe;
  bool accepting_ = true;

  // Of the thread alone.
  SocketPlaces places_;
  ConnectionId last_ = 0;
  absl::flat_hash_map<ConnectionId, std::unique_ptr<Connection>> connections_;
  absl::flat_hash_map<uid_t, Spent> spent_;
  std::vector<ConnectionId> waiting_;
  absl::Duration hear_at_ = absl::InfiniteDuration();
  size_t uses_ = 0;  // connections and calls since memory was given back
  absl::Duration give_back_at_ = absl::InfiniteDuration();
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
