// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a local server does with the connections that it serves.

#include "rpc/local_server_served.h"

#include <malloc.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"

namespace linchpin::rpc {
namespace {

constexpr size_t kPiece = 16384;
constexpr int kPiecesAtOnce = 4;  // of one caller, before the others have their turn
// Of what services say, before something else has its turn.
constexpr int kTurnsAtOnce = 4;
constexpr size_t kAnswersATurn = 64;
constexpr absl::Duration kPause = absl::Milliseconds(20);  // at least
// For what the reader has not taken: the kernel's memory, beside Http2Session::kMostOutput of ours.
constexpr int kBytesToCaller = 65536;
// After a crowd of connections and calls has gone, what the allocator keeps of it is given back to
// the system.
constexpr size_t kUsesForTrim = 256;
constexpr absl::Duration kBeforeTrim = absl::Seconds(3);

absl::Duration Now() { return base::SystemClock().Uptime(); }

}  // namespace

void LocalServer::Serve(ConnectionId id, Connection& connection) {
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
  setsockopt(connection.fd, SOL_SOCKET, SO_SNDBUF, &kBytesToCaller, sizeof(kBytesToCaller));
  auto served = std::make_unique<Served>(*this, id, connection.fd, *std::move(peer));
  served->session = Http2Session::New(
      methods_, *served, {.peer = served->peer, .connection = id, .mailbox = mailbox_});
  const uint32_t events = EPOLLIN;
  if (served->session == nullptr ||
      WatchFor(EPOLL_CTL_ADD, served->peer->pidfd(), Key(id, kProcess), EPOLLIN | EPOLLONESHOT) !=
          0 ||
      (WatchFor(EPOLL_CTL_ADD, served->fd, Key(id, kCaller), events) != 0 &&
       WatchFor(EPOLL_CTL_MOD, served->fd, Key(id, kCaller), events) != 0)) {
    Refuse(absl::StrCat("it cannot be served: ", std::strerror(errno)));
    return Drop(id);
  }
  served->events = events;
  connection.served = std::move(served);
  Hear(id, *connection.served);
}

void LocalServer::Hear(ConnectionId id, Served& served) {
  const absl::Duration now = Now();
  Heard heard = Heard::kMore;
  // From a caller who does not read his answers nothing is taken: more of them would be queued.
  for (int i = 0; i < kPiecesAtOnce && heard == Heard::kMore && served.out.empty(); ++i) {
    if (!served.trusted() && budgets_.FreeAt(served.peer->uid()) > now) {
      if (std::exchange(served.waits, true)) break;
      waiting_.push_back(id);
      hear_at_ = std::min(hear_at_, std::max(budgets_.FreeAt(served.peer->uid()), now + kPause));
      break;
    }
    heard = HearPiece(served, now);
    if (heard == Heard::kEnd) return EndServed(id);
    // What was asked is answered before more is heard.
    Answer();
    if (!connections_.contains(id)) return;
    Settle(id, served);
    if (!connections_.contains(id)) return;
  }
  Want(served);
}

LocalServer::Heard LocalServer::HearPiece(Served& served, absl::Duration now) {
  char piece[kPiece];
  const ssize_t size = recv(served.fd, piece, sizeof(piece), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return Heard::kAll;
  // Whoever holds the connection of a process that has ended is not heard.
  if (size <= 0 || !served.peer->IsAlive()) return Heard::kEnd;
  const absl::string_view bytes(piece, static_cast<size_t>(size));
  const Http2Gate::Verdict verdict = served.gate.Look(bytes, now);
  Used(verdict.opened);
  if (!served.trusted()) budgets_.Charge(served.peer->uid(), verdict, bytes.size(), now);
  if (!verdict.pass || !served.session->Receive(bytes)) {
    ++counted_.abusive;
    Log(absl::StrCat("user ", served.peer->uid(), " abuses HTTP/2 (process ", served.peer->pid(),
                     ")"));
    Flush(served);  // the last words, if they find room
    return Heard::kEnd;
  }
  return bytes.size() < sizeof(piece) ? Heard::kAll : Heard::kMore;
}

void LocalServer::Answer() {
  for (int turn = 0; turn < kTurnsAtOnce; ++turn) {
    const std::vector<CallKey> keys = mailbox_->Take(kAnswersATurn);
    if (keys.empty()) return;
    for (const CallKey& key : keys) {
      const auto found = connections_.find(key.connection);
      if (found != connections_.end()) found->second->served->session->Advance(key.stream);
    }
    for (const CallKey& key : keys) {
      const auto found = connections_.find(key.connection);
      if (found != connections_.end()) Settle(key.connection, *found->second->served);
    }
  }
}

void LocalServer::Settle(ConnectionId id, Served& served) {
  if (!Flush(served) || (served.out.empty() && served.session->IsOver())) return EndServed(id);
  Count(served);
  Want(served);
}

bool LocalServer::Flush(Served& served) {
  while (true) {
    if (!served.session->Fill(&served.out)) return false;
    if (served.out.empty()) break;
    const ssize_t sent = send(served.fd, served.out.data() + served.sent,
                              served.out.size() - served.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    served.sent += static_cast<size_t>(sent);
    if (served.sent < served.out.size()) return true;
    explicit_bzero(served.out.data(), served.out.size());  // there may be keys in it
    served.out.clear();
    served.sent = 0;
  }
  std::string().swap(served.out);  // an assignment would keep the memory
  return true;
}

void LocalServer::Count(Served& served) {
  counted_.calls += served.session->calls() - served.calls;
  served.calls = served.session->calls();
  if (served.calls == 0 && !served.idle.has_value()) {
    served.idle = idle_.emplace(idle_.end(), Now(), served.id);
  } else if (served.calls > 0 && served.idle.has_value()) {
    idle_.erase(*std::exchange(served.idle, std::nullopt));
  }
}

void LocalServer::Want(Served& served) {
  uint32_t events = served.waits ? 0U : EPOLLIN;
  if (!served.out.empty()) events = EPOLLOUT;
  if (events == std::exchange(served.events, events)) return;
  WatchFor(EPOLL_CTL_MOD, served.fd, Key(served.id, kCaller), events);
}

void LocalServer::HearAgain(absl::Duration now) {
  if (now < hear_at_) return;
  hear_at_ = absl::InfiniteDuration();
  for (const ConnectionId id : std::exchange(waiting_, {})) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) continue;
    found->second->served->waits = false;
    Hear(id, *found->second->served);
  }
  // Whoever was heard first is last the next time.
  if (!waiting_.empty()) std::rotate(waiting_.begin(), waiting_.begin() + 1, waiting_.end());
}

void LocalServer::Remind(absl::Duration now) {
  while (const auto due = reminders_.TakeDue(now)) {
    const auto found = connections_.find(due->connection);
    if (found == connections_.end()) continue;
    found->second->served->session->Overdue(due->stream);
    Settle(due->connection, *found->second->served);
  }
}

void LocalServer::EndIdle(absl::Duration now) {
  while (!idle_.empty() && idle_.front().first + idle_after_ <= now) {
    const ConnectionId id = idle_.front().second;
    Served& served = *connections_.find(id)->second->served;
    served.session->GoAway();
    Flush(served);
    EndServed(id);
  }
}

void LocalServer::SayGoodbye() {
  std::vector<ConnectionId> served;
  for (const auto& [id, connection] : connections_) served.push_back(id);
  for (const ConnectionId id : served) {
    Served& one = *connections_.find(id)->second->served;
    one.session->GoAway();
    Settle(id, one);
  }
}

void LocalServer::EndServed(ConnectionId id) {
  const auto found = connections_.find(id);
  const std::unique_ptr<Connection> connection = std::move(found->second);
  connections_.erase(found);
  places_.Leave(id);
  Served& served = *connection->served;
  counted_.calls -= served.calls;
  if (served.idle.has_value()) idle_.erase(*served.idle);
  epoll_ctl(epoll_, EPOLL_CTL_DEL, served.peer->pidfd(), nullptr);
  served.session.reset();  // its calls are over
  explicit_bzero(served.out.data(), served.out.size());
  close(connection->fd);
  Used(1);
}

void LocalServer::Used(size_t count) {
  uses_ += count;
  if (uses_ < kUsesForTrim || give_back_at_ != absl::InfiniteDuration()) return;
  give_back_at_ = Now() + kBeforeTrim;
}

void LocalServer::GiveMemoryBack(absl::Duration now) {
  if (now < give_back_at_) return;
  malloc_trim(0);
  uses_ = 0;
  give_back_at_ = absl::InfiniteDuration();
}

}  // namespace linchpin::rpc
