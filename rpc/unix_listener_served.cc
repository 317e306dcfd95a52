// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a listener does with the connections that gRPC serves.

#include <grpcpp/server_posix.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "rpc/unix_listener.h"

namespace linchpin::rpc {
namespace {

// Of a user who is not trusted, on all its connections.
constexpr double kCallsAtOnce = 4096;
constexpr double kCallsASecond = 2048;
constexpr double kFramesAtOnce = 65536;
constexpr double kFramesASecond = 32768;
constexpr absl::Duration kPause = absl::Milliseconds(20);  // at least
constexpr size_t kMaxUsersRemembered = 65536;
// For what the reader has not taken: the kernel's memory, beside one piece of ours.
constexpr int kBytesToCaller = 65536;
constexpr int kBytesToServer = 32768;
// After a crowd of connections and calls has gone, what the allocator keeps of it is given back to
// the system.
constexpr size_t kUsesForTrim = 256;
constexpr absl::Duration kBeforeTrim = absl::Seconds(3);

void LimitBuffer(int socket, int bytes) {
  setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

}  // namespace

void UnixListener::Serve(ConnectionId id, Connection& connection) {
  const uid_t uid = connection.caller.uid;
  const SocketPlaces::Decision decision = places_.Serve(id);
  Shed(decision.evicted);
  if (!decision.admitted) {
    Refuse(absl::StrCat("user ", uid, " has too many connections"));
    return Drop(id);
  }
  auto peer = UnixPeer::Hold(connection.fd, connection.caller, [released = released_, uid] {
    base::MutexLock lock(released->mutex);
    released->users.push_back(uid);
  });
  if (!peer.ok()) {
    places_.ReleaseHandle(uid);
    Refuse(peer.status().message());
    return Drop(id);
  }
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
    Refuse(absl::StrCat("no socket for gRPC: ", std::strerror(errno)));
    return Drop(id);
  }
  LimitBuffer(connection.fd, kBytesToCaller);
  LimitBuffer(pair[0], kBytesToServer);
  LimitBuffer(pair[1], kBytesToCaller);
  const int number = served_.Renumber(pair[1]);
  connection.served = std::make_unique<Served>(connection.fd, pair[0], *std::move(peer), number);
  Served& served = *connection.served;
  served_.Add(number, served.inode, served.peer);
  if (WatchFor(EPOLL_CTL_ADD, served.peer->pidfd(), Key(id, kProcess), EPOLLIN | EPOLLONESHOT) !=
          0 ||
      WatchFor(EPOLL_CTL_ADD, pair[0], Key(id, kServer), served.server_events) != 0 ||
      WatchFor(EPOLL_CTL_MOD, connection.fd, Key(id, kCaller), served.caller_events) != 0) {
    Refuse(absl::StrCat("it cannot be watched: ", std::strerror(errno)));
    close(number);
    return EndServed(id);
  }
  // gRPC finds what the caller has said, and is woken once.
  Pump(id, served, false);
  if (served.closing) {
    close(number);
  } else {
    grpc::AddInsecureChannelFromFd(server_, number);
  }
}

void UnixListener::Pump(ConnectionId id, Served& served, bool server_gone) {
  const uid_t uid = served.peer->uid();
  const bool trusted = places_.Trusts(uid);
  const absl::Duration now = base::SystemClock().Uptime();
  served.relay.Hear(trusted || SpentBy(uid).FreeAt() <= now);
  const Relay::State state = served.relay.Pump([&](absl::string_view bytes) {
    const Http2Gate::Verdict verdict = served.gate.Look(bytes, now);
    Used(verdict.opened);
    if (trusted) return verdict.pass;
    Spent& spent = SpentBy(uid);
    spent.calls.Charge(verdict.opened, now);
    spent.frames.Charge(verdict.frames, now);
    served.relay.Hear(spent.FreeAt() <= now);
    return verdict.pass;
  });
  if (state == Relay::State::kRefused) {
    ++counted_.abusive;
    Log(absl::StrCat("user ", uid, " abuses HTTP/2 (process ", served.peer->pid(), ")"));
  }
  // Not for ever tries to bring the last words of gRPC to one who does not listen.
  const bool last_words_stuck = server_gone && (served.relay.ServerEvents() & EPOLLIN) == 0;
  if (state != Relay::State::kOpen || last_words_stuck) return EndServed(id);
  if (!served.relay.hears() && !std::exchange(served.waits, true)) {
    waiting_.push_back(id);
    hear_at_ = std::min(hear_at_, std::max(SpentBy(uid).FreeAt(), now + kPause));
  }
  Want(served.relay.caller(), Key(id, kCaller), served.relay.CallerEvents(), served.caller_events);
  Want(served.relay.server(), Key(id, kServer), served.relay.ServerEvents(), served.server_events);
}

void UnixListener::Want(int fd, uint64_t key, uint32_t events, uint32_t& wanted) {
  if (events == wanted) return;
  wanted = events;
  WatchFor(EPOLL_CTL_MOD, fd, key, events);
}

void UnixListener::HearAgain(absl::Duration now) {
  if (now < hear_at_) return;
  hear_at_ = absl::InfiniteDuration();
  for (const ConnectionId id : std::exchange(waiting_, {})) {
    const auto found = connections_.find(id);
    if (found == connections_.end() || found->second->served->closing) continue;
    found->second->served->waits = false;
    Pump(id, *found->second->served, false);
  }
  // Whoever was heard first is last the next time.
  if (!waiting_.empty()) std::rotate(waiting_.begin(), waiting_.begin() + 1, waiting_.end());
}

UnixListener::Spent& UnixListener::SpentBy(uid_t uid) {
  if (spent_.size() >= kMaxUsersRemembered && !spent_.contains(uid)) spent_.clear();
  return spent_
      .try_emplace(uid, Spent{.calls = Allowance(kCallsAtOnce, kCallsASecond),
                              .frames = Allowance(kFramesAtOnce, kFramesASecond)})
      .first->second;
}

void UnixListener::EndServed(ConnectionId id) {
  Served& served = *connections_.find(id)->second->served;
  served.closing = true;
  places_.Close(id);
  epoll_ctl(epoll_, EPOLL_CTL_DEL, served.peer->pidfd(), nullptr);
  served.relay.HangUp();
  Want(served.relay.server(), Key(id, kServer), EPOLLIN, served.server_events);
  if (served.relay.Drain()) Forget(id);
}

void UnixListener::Forget(ConnectionId id) {
  const auto found = connections_.find(id);
  served_.Remove(found->second->served->number, found->second->served->inode);
  connections_.erase(found);
  places_.Leave(id);
  Used(1);
}

void UnixListener::Used(size_t count) {
  uses_ += count;
  if (uses_ < kUsesForTrim || give_back_at_ != absl::InfiniteDuration()) return;
  give_back_at_ = base::SystemClock().Uptime() + kBeforeTrim;
}

void UnixListener::GiveMemoryBack(absl::Duration now) {
  if (now < give_back_at_) return;
  malloc_trim(0);
  uses_ = 0;
  give_back_at_ = absl::InfiniteDuration();
}

}  // namespace linchpin::rpc
