// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/unix_listener.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/durable_file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "rpc/http2_preface.h"

namespace linchpin::rpc {
namespace {

constexpr int kAtOnce = 64;  // events, before the others have their turn
// More than can begin to be served in the meantime, so that a flood does not fill the backlog.
constexpr int kAcceptAtOnce = 512;
constexpr absl::Duration kRest = absl::Milliseconds(100);

absl::Duration Now() { return base::SystemClock().Uptime(); }

bool IsOutOfResources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

int OpenSpare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

UnixListener::UnixListener(std::unique_ptr<UnixSocket> socket, const SocketLimits& limits)
    : socket_(std::move(socket)),
      places_(limits, {0, geteuid()}),
      released_(std::make_shared<Released>()) {}

UnixListener::~UnixListener() {
  if (thread_.joinable()) {
    {
      base::MutexLock lock(order_mutex_);
      order_ = Order::kEnd;
    }
    eventfd_write(wake_, 1);
    thread_.join();
  }
  for (const int fd : {wake_, epoll_, spare_}) {
    if (fd >= 0) close(fd);
  }
}

absl::StatusOr<std::unique_ptr<UnixListener>> UnixListener::Bind(const std::string& path,
                                                                 mode_t mode) {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return base::ErrnoStatus(errno, "ask for limits");
  return Bind(path, mode, SocketLimits::ForOpenFiles(files.rlim_cur));
}

absl::StatusOr<std::unique_ptr<UnixListener>> UnixListener::Bind(const std::string& path,
                                                                 mode_t mode,
                                                                 const SocketLimits& limits) {
  ASSIGN_OR_RETURN(std::unique_ptr<UnixSocket> socket, UnixSocket::Bind(path, mode));
  std::unique_ptr<UnixListener> listener(new UnixListener(std::move(socket), limits));
  RETURN_IF_ERROR(listener->Prepare());
  return listener;
}

absl::Status UnixListener::Prepare() {
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_ = wake_ < 0 ? -1 : epoll_create1(EPOLL_CLOEXEC);
  spare_ = epoll_ < 0 ? -1 : OpenSpare();
  if (spare_ < 0 || WatchFor(EPOLL_CTL_ADD, wake_, kWakeKey, EPOLLIN) != 0 ||
      WatchFor(EPOLL_CTL_ADD, socket_->fd(), kListenKey, EPOLLIN) != 0) {
    return base::ErrnoStatus(errno, absl::StrCat("watch the socket ", socket_->path()));
  }
  return absl::OkStatus();
}

int UnixListener::WatchFor(int operation, int fd, uint64_t key, uint32_t events) {
  epoll_event event{.events = events, .data = {.u64 = key}};
  return epoll_ctl(epoll_, operation, fd, &event);
}

void UnixListener::Start(grpc::Server* server) {
  server_ = server;
  thread_ = std::thread([this] { Run(); });
}

void UnixListener::Stop() {
  if (!thread_.joinable()) return;
  base::MutexLock lock(order_mutex_);
  if (order_ == Order::kServe) order_ = Order::kStop;
  eventfd_write(wake_, 1);
  obeyed_.wait(lock, [this] { return !accepting_; });
}

bool UnixListener::Obey() {
  eventfd_t woken;
  eventfd_read(wake_, &woken);
  base::MutexLock lock(order_mutex_);
  if (order_ == Order::kServe) return true;
  if (accepting_) StopAccepting();
  accepting_ = false;
  obeyed_.notify_all();
  return order_ != Order::kEnd;
}

void UnixListener::StopAccepting() {
  epoll_ctl(epoll_, EPOLL_CTL_DEL, socket_->fd(), nullptr);
  std::vector<ConnectionId> parked;
  for (const auto& [id, connection] : connections_) {
    if (connection->served == nullptr) parked.push_back(id);
  }
  for (const ConnectionId id : parked) Drop(id);
}

UnixListener::Counts UnixListener::counts() const {
  base::MutexLock lock(counts_mutex_);
  return counts_;
}

void UnixListener::Run() {
  epoll_event events[kAtOnce];
  while (true) {
    const int count = epoll_wait(epoll_, events, kAtOnce, WaitMilliseconds());
    if (count < 0 && errno != EINTR) {
      Rest(absl::StrCat("cannot wait for connections: ", std::strerror(errno)));
      pollfd asked{wake_, POLLIN, 0};
      poll(&asked, 1, static_cast<int>(absl::ToInt64Milliseconds(kRest)));
      if (asked.revents != 0 && !Obey()) return;
    }
    bool accept = false;
    for (int i = 0; i < count; ++i) {
      const uint64_t key = events[i].data.u64;
      if (key == kWakeKey) {
        if (!Obey()) return;
      } else if (key == kListenKey) {
        accept = true;
      } else {
        OnEvent(key >> kSourceBits, key, events[i].events);
      }
    }
    Housekeep();
    if (accept && accepting_) Accept();
    Publish();
  }
}

int UnixListener::WaitMilliseconds() const {
  absl::Duration least = absl::InfiniteDuration();
  const absl::Duration now = Now();
  if (const auto overdue = places_.NextOverdue()) least = *overdue - now;
  least = std::min({least, give_back_at_ - now, hear_at_ - now});
  if (resting_ && accepting_) least = std::min(least, resting_until_ - now);
  if (least == absl::InfiniteDuration()) return -1;
  return static_cast<int>(absl::ToInt64Milliseconds(
      absl::Ceil(std::max(least, absl::ZeroDuration()), absl::Milliseconds(1))));
}

void UnixListener::Accept() {
  for (int i = 0; i < kAcceptAtOnce; ++i) {
    const int fd = AcceptOne();
    if (fd >= 0) {
      Welcome(fd);
      continue;
    }
    if (errno == EAGAIN) return;
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (!IsOutOfResources(errno)) return Rest(std::strerror(errno));
    // The spare file makes room for one, so that callers learn it instead of waiting in vain.
    if (spare_ >= 0) close(spare_);
    const int refused = AcceptOne();
    if (refused >= 0) close(refused);
    spare_ = OpenSpare();
    if (refused < 0) return Rest("out of files or memory");
    Refuse("out of files or memory");
  }
}

int UnixListener::AcceptOne() {
  return accept4(socket_->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

void UnixListener::Rest(absl::string_view why) {
  Log(why);
  resting_ = true;
  resting_until_ = Now() + kRest;
  WatchFor(EPOLL_CTL_MOD, socket_->fd(), kListenKey, 0);
}

void UnixListener::Refuse(absl::string_view why) {
  ++counted_.refused;
  Log(why);
}

void UnixListener::Log(absl::string_view why) {
  if (const auto unsaid = log_limit_.Take(Now())) {
    base::LogWarning("a local connection is refused or ended",
                     {{"socket", socket_->path()},
                      {"why", std::string(why)},
                      {"unsaid_before", absl::StrCat(*unsaid)}});
  }
}

void UnixListener::Welcome(int fd) {
  const absl::StatusOr<PeerCredentials> caller = PeerCredentials::FromSocket(fd);
  if (!caller.ok()) {
    Refuse(caller.status().message());
    close(fd);
    return;
  }
  const ConnectionId id = ++last_;
  const SocketPlaces::Decision decision = places_.Park(id, caller->uid, Now());
  Shed(decision.evicted);
  if (!decision.admitted) {
    Refuse(absl::StrCat("user ", caller->uid, " has too many connections"));
    close(fd);
    return;
  }
  connections_[id] = std::make_unique<Connection>(Connection{.fd = fd, .caller = *caller});
  // Edge-triggered: told once of bytes that are only looked at.
  if (WatchFor(EPOLL_CTL_ADD, fd, Key(id, kCaller), EPOLLIN | EPOLLRDHUP | EPOLLET) != 0) {
    Refuse(absl::StrCat("it cannot be watched: ", std::strerror(errno)));
    Drop(id);
  }
}

void UnixListener::OnEvent(ConnectionId id, uint64_t key, uint32_t events) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  if (connection.served == nullptr) return Hear(id, connection, events);
  if (connection.served->closing) {
    if (connection.served->relay.Drain()) Forget(id);
    return;
  }
  const bool hung_up = (events & (EPOLLHUP | EPOLLERR)) != 0;
  if (key == Key(id, kProcess) || (key == Key(id, kCaller) && hung_up)) return EndServed(id);
  Pump(id, *connection.served, hung_up);
}

void UnixListener::Hear(ConnectionId id, Connection& connection, uint32_t events) {
  char first[kPrefaceBytes];
  const ssize_t size = recv(connection.fd, first, sizeof(first), MSG_PEEK | MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  const Preface preface = size <= 0
                              ? Preface::kBegun
                              : LookAtPreface(absl::string_view(first, static_cast<size_t>(size)));
  if (preface == Preface::kWhole) return Serve(id, connection);
  if (preface == Preface::kForeign) ++counted_.foreign;
  // Nothing more will come.
  const bool ended = size <= 0 || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  if (preface == Preface::kForeign || ended) Drop(id);
}

void UnixListener::Drop(ConnectionId id) {
  const auto found = connections_.find(id);
  close(found->second->fd);
  connections_.erase(found);
  places_.Leave(id);
}

void UnixListener::Shed(const std::vector<ConnectionId>& evicted) {
  for (const ConnectionId id : evicted) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) continue;
    ++counted_.evicted;
    if (found->second->served == nullptr) {
      Drop(id);
    } else if (!found->second->served->closing) {
      EndServed(id);
    }
  }
}

void UnixListener::Housekeep() {
  const absl::Duration now = Now();
  std::vector<uid_t> released;
  {
    base::MutexLock lock(released_->mutex);
    released.swap(released_->users);
  }
  for (const uid_t uid : released) places_.ReleaseHandle(uid);
  for (int i = 0; i < kAtOnce; ++i) {
    const std::optional<ConnectionId> overdue = places_.Overdue(now);
    if (!overdue.has_value()) break;
    Drop(*overdue);
    ++counted_.overdue;
  }
  GiveMemoryBack(now);
  HearAgain(now);
  if (accepting_ && resting_ && now >= resting_until_) {
    resting_ = false;
    if (spare_ < 0) spare_ = OpenSpare();
    WatchFor(EPOLL_CTL_MOD, socket_->fd(), kListenKey, EPOLLIN);
  }
}

void UnixListener::Publish() {
  counted_.parked = places_.parked();
  counted_.served = places_.served();
  base::MutexLock lock(counts_mutex_);
  counts_ = counted_;
}

}  // namespace linchpin::rpc
