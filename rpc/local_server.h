// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// gRPC on a Unix socket whose callers are known, and may be hostile. One thread accepts, keeps each
// connection parked until an HTTP/2 client has begun to speak on it, and serves it then: what a
// service says at once, within its handler, is sent before anything else is done. How many stay,
// and who goes when it is crowded: rpc/socket_places.h; what a client may do: rpc/http2_gate.h and
// rpc/user_budgets.h; what is spoken: rpc/http2_session.h.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <list>
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
#include "rpc/call_mailbox.h"
#include "rpc/http2_session.h"
#include "rpc/local_methods.h"
#include "rpc/reminders.h"
#include "rpc/socket_places.h"
#include "rpc/unix_peer.h"
#include "rpc/unix_socket.h"
#include "rpc/user_budgets.h"

namespace linchpin::rpc {

class LocalServer {
 public:
  struct Options {
    SocketLimits limits;
    absl::Duration idle = absl::Seconds(20);  // without a call: then a connection ends

    // Limits that follow from the open files this process may have.
    static absl::StatusOr<Options> ForThisProcess();
  };
  // Binds `path` with `mode` (a stale socket is replaced, a live one is FAILED_PRECONDITION).
  static absl::StatusOr<std::unique_ptr<LocalServer>> Bind(const std::string& path, mode_t mode,
                                                           const Options& options);
  ~LocalServer();  // shuts down without patience, and unlinks the socket

  // Accepts until stopped. What the methods use must outlive Shutdown(). A connection ends with the
  // process that made it.
  void Start(LocalMethods methods);
  // Accepts no more and closes what is parked: no call begins after it.
  void Stop();
  // Stop(), and waits until the calls have ended and their ends are sent, but not for longer than
  // that; those which still run are over. No handler is called afterwards.
  void Shutdown(absl::Duration patience);

  struct Counts {
    size_t parked = 0;
    size_t served = 0;
    size_t calls = 0;
    uint64_t refused = 0;  // since the start, for want of places or of a caller
    uint64_t evicted = 0;  // for others, parked and served
    uint64_t overdue = 0;  // parked for too long
    uint64_t foreign = 0;  // did not speak HTTP/2
    uint64_t abusive = 0;  // spoke more of it than is allowed
  };
  Counts counts() const;  // any thread

 private:
  struct Served;
  struct Connection {
    int fd = -1;
    PeerCredentials caller;
    std::unique_ptr<Served> served;  // null: parked
  };
  // What an epoll event is about: which connection (from 1 on), and which of its files.
  enum Source : uint64_t { kCaller, kProcess };
  static constexpr int kSourceBits = 1;
  static uint64_t Key(ConnectionId id, Source source) { return id << kSourceBits | source; }
  static constexpr uint64_t kOrderKey = 0;
  static constexpr uint64_t kListenKey = 1;
  static constexpr uint64_t kMailKey = ~uint64_t{0};

  // Whose handles were let go, in any thread.
  struct Released {
    base::Mutex mutex;
    std::vector<uid_t> users;
  };

  LocalServer(std::unique_ptr<UnixSocket> socket, const Options& options);
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
  void Rest(absl::string_view why);
  void Refuse(absl::string_view why);
  void Log(absl::string_view why);
  void Housekeep();
  void Publish();

  // Parked.
  void Peek(ConnectionId id, Connection& connection, uint32_t events);
  void Drop(ConnectionId id);
  void Shed(const std::vector<ConnectionId>& evicted);

  // Served.
  void Serve(ConnectionId id, Connection& connection);
  void Hear(ConnectionId id, Served& served);
  enum class Heard { kAll, kMore, kEnd };
  Heard HearPiece(Served& served, absl::Duration now);
  void Answer();
  void Settle(ConnectionId id, Served& served);
  bool Flush(Served& served);
  void Count(Served& served);
  void Want(Served& served);
  void HearAgain(absl::Duration now);
  void EndServed(ConnectionId id);
  void SayGoodbye();
  void Remind(absl::Duration now);
  void EndIdle(absl::Duration now);
  void Used(size_t count);
  void GiveMemoryBack(absl::Duration now);

  const std::unique_ptr<UnixSocket> socket_;
  const absl::Duration idle_after_;
  const std::shared_ptr<CallMailbox> mailbox_;
  LocalMethods methods_;
  int order_wake_ = -1;
  int epoll_ = -1;
  int spare_ = -1;  // given up to accept, and close, when files run out
  std::thread thread_;

  base::Mutex order_mutex_;
  enum class Order { kServe, kStop, kEnd } order_ = Order::kServe;

  // Of the thread alone.
  bool accepting_ = true;
  SocketPlaces places_;
  UserBudgets budgets_;
  Reminders reminders_;
  ConnectionId last_ = 0;
  absl::flat_hash_map<ConnectionId, std::unique_ptr<Connection>> connections_;
  std::list<std::pair<absl::Duration, ConnectionId>> idle_;  // since when, without a call
  std::vector<ConnectionId> waiting_;                        // their users have sent too much
  absl::Duration hear_at_ = absl::InfiniteDuration();
  size_t uses_ = 0;  // connections and calls since memory was given back
  absl::Duration give_back_at_ = absl::InfiniteDuration();
  absl::Duration resting_until_ = -absl::InfiniteDuration();
  bool resting_ = false;
  Counts counted_;

  const std::shared_ptr<Released> released_;
  base::LogLimit log_limit_;
  mutable base::Mutex counts_mutex_;
  base::CondVar changed_;  // what follows
  Counts counts_;
  bool stopped_ = false;
};

}  // namespace linchpin::rpc
