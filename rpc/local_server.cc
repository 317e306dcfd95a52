// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/local_server.h"

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
#include "rpc/local_server_served.h"

namespace linchpin::rpc {
namespace {

constexpr int kAtOnce = 64;  // events, before the others have their turn
// More than can begin to be served in the meantime, so that a flood does not fill the backlog.
constexpr int kAcceptAtOnce = 512;
constexpr absl::Duration kLongestWait = absl::Hours(1);
constexpr absl::Duration kRest = absl::Milliseconds(100);

absl::Duration Now() { return base::SystemClock().Uptime(); }

bool IsOutOfResources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

int OpenSpare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

absl::StatusOr<LocalServer::Options> LocalServer::Options::ForThisProcess() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return base::ErrnoStatus(errno, "ask for limits");
  return Options{.limits = SocketLimits::ForOpenFiles(files.rlim_cur)};
}

LocalServer::LocalServer(std::unique_ptr<UnixSocket> socket, const Options& options)
    : socket_(std::move(socket)),
      idle_after_(options.idle),
      mailbox_(std::make_shared<CallMailbox>()),
      places_(options.limits, {0, geteuid()}),
      released_(std::make_shared<Released>()) {}

LocalServer::~LocalServer() {
  Shutdown(absl::ZeroDuration());
  for (const int fd : {order_wake_, epoll_, spare_}) {
    if (fd >= 0) close(fd);
  }
}

absl::StatusOr<std::unique_ptr<LocalServer>> LocalServer::Bind(const std::string& path, mode_t mode,
                                                               const Options& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<UnixSocket> socket, UnixSocket::Bind(path, mode));
  std::unique_ptr<LocalServer> server(new LocalServer(std::move(socket), options));
  RETURN_IF_ERROR(server->Prepare());
  return server;
}

absl::Status LocalServer::Prepare() {
  order_wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const int mail = order_wake_ < 0 ? -1 : mailbox_->Open();
  epoll_ = mail < 0 ? -1 : epoll_create1(EPOLL_CLOEXEC);
  spare_ = epoll_ < 0 ? -1 : OpenSpare();
  if (spare_ < 0 || WatchFor(EPOLL_CTL_ADD, order_wake_, kOrderKey, EPOLLIN) != 0 ||
      WatchFor(EPOLL_CTL_ADD, mail, kMailKey, EPOLLIN) != 0 ||
      WatchFor(EPOLL_CTL_ADD, socket_->fd(), kListenKey, EPOLLIN) != 0) {
    return base::ErrnoStatus(errno, absl::StrCat("watch the socket ", socket_->path()));
  }
  return absl::OkStatus();
}

int LocalServer::WatchFor(int operation, int fd, uint64_t key, uint32_t events) {
  epoll_event event{.events = events, .data = {.u64 = key}};
  return epoll_ctl(epoll_, operation, fd, &event);
}

void LocalServer::Start(LocalMethods methods) {
  methods_ = std::move(methods);
  thread_ = std::thread([this] { Run(); });
}

void LocalServer::Stop() {
  if (!thread_.joinable()) return;
  {
    base::MutexLock lock(order_mutex_);
    if (order_ == Order::kServe) order_ = Order::kStop;
  }
  eventfd_write(order_wake_, 1);
  base::MutexLock lock(counts_mutex_);
  changed_.wait(lock, [this] { return stopped_; });
}

void LocalServer::Shutdown(absl::Duration patience) {
  if (!thread_.joinable()) return;
  Stop();
  {
    base::MutexLock lock(counts_mutex_);
    changed_.wait_for(lock, absl::ToChronoNanoseconds(patience),
                      [this] { return counts_.calls == 0; });
  }
  {
    base::MutexLock lock(order_mutex_);
    order_ = Order::kEnd;
  }
  eventfd_write(order_wake_, 1);
  thread_.join();
}

bool LocalServer::Obey() {
  eventfd_t woken;
  eventfd_read(order_wake_, &woken);
  base::MutexLock lock(order_mutex_);
  const Order order = order_;
  lock.unlock();
  if (order != Order::kServe && std::exchange(accepting_, false)) StopAccepting();
  return order != Order::kEnd;
}

void LocalServer::StopAccepting() {
  epoll_ctl(epoll_, EPOLL_CTL_DEL, socket_->fd(), nullptr);
  std::vector<ConnectionId> parked;
  for (const auto& [id, connection] : connections_) {
    if (connection->served == nullptr) parked.push_back(id);
  }
  for (const ConnectionId id : parked) Drop(id);
  SayGoodbye();
}

LocalServer::Counts LocalServer::counts() const {
  base::MutexLock lock(counts_mutex_);
  return counts_;
}

void LocalServer::Run() {
  mailbox_->IsOfThisThread();
  epoll_event events[kAtOnce];
  bool serving = true;
  while (serving) {
    const int count = epoll_wait(epoll_, events, kAtOnce, WaitMilliseconds());
    if (count < 0 && errno != EINTR) {
      Rest(absl::StrCat("cannot wait for connections: ", std::strerror(errno)));
      pollfd asked{order_wake_, POLLIN, 0};
      poll(&asked, 1, static_cast<int>(absl::ToInt64Milliseconds(kRest)));
      if (asked.revents != 0) serving = Obey();
    }
    bool accept = false;
    for (int i = 0; i < count; ++i) {
      const uint64_t key = events[i].data.u64;
      if (key == kOrderKey) {
        serving = Obey();
      } else if (key == kListenKey) {
        accept = true;
      } else if (key != kMailKey) {
        OnEvent(key >> kSourceBits, key, events[i].events);
      }
    }
    Answer();
    Housekeep();
    if (accept && accepting_) Accept();
    Publish();
  }
  while (!connections_.empty()) EndServed(connections_.begin()->first);
}

int LocalServer::WaitMilliseconds() const {
  if (!mailbox_->empty()) return 0;  // of what this thread posts epoll does not tell
  absl::Duration least = absl::InfiniteDuration();
  const absl::Duration now = Now();
  if (const auto overdue = places_.NextOverdue()) least = *overdue - now;
  least = std::min({least, give_back_at_ - now, hear_at_ - now, reminders_.Next() - now});
  if (!idle_.empty()) least = std::min(least, idle_.front().first + idle_after_ - now);
  if (resting_ && accepting_) least = std::min(least, resting_until_ - now);
  if (least == absl::InfiniteDuration()) return -1;
  least = std::clamp(least, absl::ZeroDuration(), kLongestWait);  // deadlines may be far away
  return static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(least, absl::Milliseconds(1))));
}

void LocalServer::Accept() {
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

int LocalServer::AcceptOne() {
  return accept4(socket_->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

void LocalServer::Rest(absl::string_view why) {
  Log(why);
  resting_ = true;
  resting_until_ = Now() + kRest;
  WatchFor(EPOLL_CTL_MOD, socket_->fd(), kListenKey, 0);
}

void LocalServer::Refuse(absl::string_view why) {
  ++counted_.refused;
  Log(why);
}

void LocalServer::Log(absl::string_view why) {
  if (const auto unsaid = log_limit_.Take(Now())) {
    base::LogWarning("a local connection is refused or ended",
                     {{"socket", socket_->path()},
                      {"why", std::string(why)},
                      {"unsaid_before", absl::StrCat(*unsaid)}});
  }
}

void LocalServer::Welcome(int fd) {
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
  Connection& connection = *(connections_[id] = std::make_unique<Connection>());
  connection.fd = fd;
  connection.caller = *caller;
  // Most have spoken by now.
  Peek(id, connection, 0);
  const auto stays = connections_.find(id);
  if (stays == connections_.end() || stays->second->served != nullptr) return;
  // Edge-triggered: told once of bytes that are only looked at.
  if (WatchFor(EPOLL_CTL_ADD, fd, Key(id, kCaller), EPOLLIN | EPOLLRDHUP | EPOLLET) != 0) {
    Refuse(absl::StrCat("it cannot be watched: ", std::strerror(errno)));
    Drop(id);
  }
}

void LocalServer::OnEvent(ConnectionId id, uint64_t key, uint32_t events) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  if (connection.served == nullptr) return Peek(id, connection, events);
  const bool hung_up = (events & (EPOLLHUP | EPOLLERR)) != 0;
  if (key == Key(id, kProcess) || hung_up) return EndServed(id);
  if (!connection.served->out.empty()) return Settle(id, *connection.served);
  Hear(id, *connection.served);
}

void LocalServer::Peek(ConnectionId id, Connection& connection, uint32_t events) {
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

void LocalServer::Drop(ConnectionId id) {
  const auto found = connections_.find(id);
  close(found->second->fd);
  connections_.erase(found);
  places_.Leave(id);
}

void LocalServer::Shed(const std::vector<ConnectionId>& evicted) {
  for (const ConnectionId id : evicted) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) continue;
    ++counted_.evicted;
    found->second->served == nullptr ? Drop(id) : EndServed(id);
  }
}

void LocalServer::Housekeep() {
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
  Remind(now);
  EndIdle(now);
  GiveMemoryBack(now);
  HearAgain(now);
  Answer();
  if (accepting_ && resting_ && now >= resting_until_) {
    resting_ = false;
    if (spare_ < 0) spare_ = OpenSpare();
    WatchFor(EPOLL_CTL_MOD, socket_->fd(), kListenKey, EPOLLIN);
  }
}

void LocalServer::Publish() {
  counted_.parked = places_.parked();
  counted_.served = places_.served();
  base::MutexLock lock(counts_mutex_);
  counts_ = counted_;
  stopped_ = !accepting_;
  if (stopped_) changed_.notify_all();
}

}  // namespace linchpin::rpc
