// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/tcp_listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/durable_file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "rpc/client_hello.h"

namespace linchpin::rpc {
namespace {

constexpr int kAtOnce = 64;  // connections and events, before the others have their turn
constexpr int kBacklog = 4096;
constexpr absl::Duration kRest = absl::Milliseconds(100);
constexpr uint64_t kMostServed = 24'000;
constexpr uint64_t kOwnFiles = 1024;

// What an epoll event is about: up to kFirstConnection, a listening socket.
constexpr uint64_t kWakeKey = 0;
constexpr uint64_t kFirstConnection = 64;

absl::Duration Now() { return base::SystemClock().Uptime(); }

bool IsOutOfResources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

int OpenSpare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

SocketLimits Limits() {
  rlimit files{};
  const uint64_t open =
      getrlimit(RLIMIT_NOFILE, &files) == 0 ? uint64_t{files.rlim_cur} : 2 * kOwnFiles;
  const uint64_t own = std::min(kOwnFiles, open / 4);
  const uint64_t places = std::min(open - own, kMostServed * SocketPlaces::kServed);
  // Many nodes may share an address: a source gives way to others, but needs no bound of its own.
  return {.places = places, .places_of_user = places, .kept = 0};
}

// Where a connection comes from, as one that has a network of its own can not vary it: an IPv4
// address, or the first half of an IPv6 one.
uid_t SourceOf(const sockaddr_storage& address) {
  uint32_t words[4] = {};
  if (address.ss_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr;
  }
  const in6_addr& six = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  std::memcpy(words, &six, sizeof(words));
  return IN6_IS_ADDR_V4MAPPED(&six) ? words[3] : words[0] * 31 + words[1];
}

struct Addresses {
  ~Addresses() {
    if (first != nullptr) freeaddrinfo(first);
  }
  addrinfo* first = nullptr;
};

int PortOf(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(bound).sin_port);
}

// A listening socket; -1 with errno. `port` other than 0 replaces that of the address.
int Listen(const addrinfo& address, int port) {
  sockaddr_storage where{};
  std::memcpy(&where, address.ai_addr, address.ai_addrlen);
  if (port != 0) {
    (address.ai_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(where).sin6_port
                                   : reinterpret_cast<sockaddr_in&>(where).sin_port) =
        htons(static_cast<uint16_t>(port));
  }
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1, off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address.ai_family == AF_INET6) {
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  if (bind(fd, reinterpret_cast<sockaddr*>(&where), address.ai_addrlen) == 0 &&
      listen(fd, kBacklog) == 0) {
    return fd;
  }
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TcpListener>> TcpListener::Bind(const std::string& address) {
  return Bind(address, Limits());
}

absl::StatusOr<std::unique_ptr<TcpListener>> TcpListener::Bind(const std::string& address,
                                                               const SocketLimits& limits) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("the address to listen on is ", address, "; HOST:PORT is expected"));
  }
  absl::string_view host = absl::string_view(address).substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  Addresses addresses;
  const int error = getaddrinfo(host.empty() ? nullptr : std::string(host).c_str(),
                                address.substr(colon + 1).c_str(), &hints, &addresses.first);
  if (error != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot listen on ", address, ": ", gai_strerror(error)));
  }
  std::unique_ptr<TcpListener> listener(new TcpListener(limits));
  int last_error = 0;
  for (const addrinfo* one = addresses.first; one != nullptr; one = one->ai_next) {
    const int fd = Listen(*one, listener->port_);
    if (fd < 0) {
      last_error = errno;
      continue;
    }
    if (listener->port_ == 0) listener->port_ = PortOf(fd);
    listener->listening_.push_back(fd);
  }
  if (listener->listening_.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot listen on ", address, ": ", std::strerror(last_error),
                     "; is it in use? Give another address with --listen"));
  }
  RETURN_IF_ERROR(listener->Prepare());
  return listener;
}

absl::Status TcpListener::Prepare() {
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_ = wake_ < 0 ? -1 : epoll_create1(EPOLL_CLOEXEC);
  spare_ = epoll_ < 0 ? -1 : OpenSpare();
  bool watched = spare_ >= 0 && WatchFor(EPOLL_CTL_ADD, wake_, kWakeKey, EPOLLIN) == 0;
  for (size_t i = 0; i < listening_.size(); ++i) {
    watched = watched && WatchFor(EPOLL_CTL_ADD, listening_[i], i + 1, EPOLLIN) == 0;
  }
  if (!watched) return base::ErrnoStatus(errno, absl::StrCat("watch the port ", port_));
  last_ = kFirstConnection;
  return absl::OkStatus();
}

int TcpListener::WatchFor(int operation, int fd, uint64_t key, uint32_t events) const {
  epoll_event event{.events = events, .data = {.u64 = key}};
  return epoll_ctl(epoll_, operation, fd, &event);
}

TcpListener::~TcpListener() {
  Stop();
  for (const auto& [id, connection] : connections_) close(connection.fd);
  for (const int fd : listening_) close(fd);
  for (const int fd : {wake_, epoll_, spare_}) {
    if (fd >= 0) close(fd);
  }
}

void TcpListener::Start(std::unique_ptr<Acceptor> acceptor) {
  acceptor_ = std::move(acceptor);
  thread_ = std::thread([this] { Run(); });
}

void TcpListener::Stop() {
  if (!thread_.joinable()) return;
  eventfd_write(wake_, 1);
  thread_.join();
  for (const int fd : std::exchange(listening_, {})) close(fd);
}

TcpListener::Counts TcpListener::counts() const {
  base::MutexLock lock(counts_mutex_);
  return counts_;
}

void TcpListener::Run() {
  epoll_event events[kAtOnce];
  for (bool stop = false; !stop;) {
    const int count = epoll_wait(epoll_, events, kAtOnce, WaitMilliseconds());
    for (int i = 0; i < count; ++i) {
      const uint64_t key = events[i].data.u64;
      if (key == kWakeKey) {
        stop = true;
      } else if (key > kFirstConnection) {
        Hear(key, events[i].events);
      } else {
        Accept(listening_[key - 1]);
      }
    }
    Housekeep();
  }
  std::vector<ConnectionId> parked;
  for (const auto& [id, connection] : connections_) {
    if (!connection.served) parked.push_back(id);
  }
  for (const ConnectionId id : parked) End(id);
}

int TcpListener::WaitMilliseconds() const {
  absl::Duration least = absl::InfiniteDuration();
  if (const auto overdue = places_.NextOverdue()) least = *overdue - Now();
  if (resting_) least = std::min(least, resting_until_ - Now());
  if (least == absl::InfiniteDuration()) return -1;
  return static_cast<int>(absl::ToInt64Milliseconds(
      absl::Ceil(std::max(least, absl::ZeroDuration()), absl::Milliseconds(1))));
}

void TcpListener::Accept(int listening) {
  for (int i = 0; i < kAtOnce; ++i) {
    sockaddr_storage from{};
    socklen_t size = sizeof(from);
    const int fd =
        accept4(listening, reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      Welcome(fd, SourceOf(from));
      continue;
    }
    if (errno == EAGAIN) return;
    if (!IsOutOfResources(errno)) continue;  // of that connection; accept(2) names many
    // The spare file makes room for one, so that callers learn it instead of waiting in vain.
    if (spare_ >= 0) close(spare_);
    const int refused = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
    if (refused >= 0) close(refused);
    spare_ = OpenSpare();
    Refuse("out of files or memory");
    if (refused < 0) return Rest();
  }
}

// A while without accepting.
void TcpListener::Rest() {
  resting_ = true;
  resting_until_ = Now() + kRest;
  for (size_t i = 0; i < listening_.size(); ++i) {
    WatchFor(EPOLL_CTL_MOD, listening_[i], i + 1, 0);
  }
}

void TcpListener::Refuse(absl::string_view why) {
  ++counted_.refused;
  if (const auto unsaid = log_limit_.Take(Now())) {
    base::LogWarning("a connection is refused", {{"port", absl::StrCat(port_)},
                                                 {"why", std::string(why)},
                                                 {"unsaid_before", absl::StrCat(*unsaid)}});
  }
}

void TcpListener::Welcome(int fd, uid_t source) {
  const ConnectionId id = ++last_;
  const SocketPlaces::Decision decision = places_.Park(id, source, Now());
  Shed(decision.evicted);
  if (!decision.admitted) {
    Refuse("too many connections");
    close(fd);
    return;
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  connections_[id] = {.fd = fd, .served = false, .source = source};
  // Edge-triggered: told once of bytes that are only looked at.
  if (WatchFor(EPOLL_CTL_ADD, fd, id, EPOLLIN | EPOLLRDHUP | EPOLLET) != 0) {
    Refuse(absl::StrCat("it cannot be watched: ", std::strerror(errno)));
    End(id);
  }
}

void TcpListener::Hear(ConnectionId id, uint32_t events) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  if (connection.served) {
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) End(id);
    return;
  }
  char first[kHelloBytes];
  int available = 0;
  const ssize_t size = recv(connection.fd, first, sizeof(first), MSG_PEEK | MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0 || ioctl(connection.fd, FIONREAD, &available) != 0) return End(id);
  const Hello hello = LookAtHello(absl::string_view(first, static_cast<size_t>(size)),
                                  static_cast<size_t>(std::max(available, 0)));
  if (hello == Hello::kWhole) return Serve(id, connection);
  if (hello == Hello::kForeign) ++counted_.foreign;
  // Or nothing more will come.
  if (hello == Hello::kForeign || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) End(id);
}

void TcpListener::Serve(ConnectionId id, Connection& connection) {
  const uid_t source = connection.source;
  const SocketPlaces::Decision decision = places_.Serve(id);
  Shed(decision.evicted);
  if (decision.admitted) places_.ReleaseHandle(source);
  const int number = decision.admitted ? fcntl(connection.fd, F_DUPFD_CLOEXEC, 0) : -1;
  // From now on its own number only tells the end of the connection: gRPC shuts it down, or the
  // node.
  if (number < 0 || WatchFor(EPOLL_CTL_MOD, connection.fd, id, EPOLLET) != 0) {
    Refuse(decision.admitted ? "out of files or memory" : "too many connections");
    if (number >= 0) close(number);
    return End(id);
  }
  connection.served = true;
  Acceptor::NewConnectionParameters given;
  given.listener_fd = listening_.front();
  given.fd = number;
  acceptor_->HandleNewConnection(&given);
}

void TcpListener::End(ConnectionId id) {
  const auto found = connections_.find(id);
  // gRPC's number may keep the socket in the set.
  epoll_ctl(epoll_, EPOLL_CTL_DEL, found->second.fd, nullptr);
  close(found->second.fd);
  connections_.erase(found);
  places_.Leave(id);
}

void TcpListener::Shed(const std::vector<ConnectionId>& evicted) {
  for (const ConnectionId id : evicted) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) continue;
    ++counted_.evicted;
    if (found->second.served) {
      shutdown(found->second.fd, SHUT_RDWR);  // its end is heard later
    } else {
      End(id);
    }
  }
}

void TcpListener::Housekeep() {
  const absl::Duration now = Now();
  for (int i = 0; i < kAtOnce; ++i) {
    const std::optional<ConnectionId> overdue = places_.Overdue(now);
    if (!overdue.has_value()) break;
    End(*overdue);
    ++counted_.overdue;
  }
  if (resting_ && now >= resting_until_) {
    resting_ = false;
    if (spare_ < 0) spare_ = OpenSpare();
    for (size_t i = 0; i < listening_.size(); ++i) {
      WatchFor(EPOLL_CTL_MOD, listening_[i], i + 1, EPOLLIN);
    }
  }
  counted_.parked = places_.parked();
  counted_.served = places_.served();
  base::MutexLock lock(counts_mutex_);
  counts_ = counted_;
}

}  // namespace linchpin::rpc
