// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/internal/dial.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/durable_file.h"
#include "base/status_macros.h"

namespace linchpin::tls {
namespace {

constexpr int64_t kLongestPoll = 60'000;  // ms; then looks at the clock again

int MillisecondsTo(absl::Duration until) {
  const absl::Duration left = until - base::SystemClock().Uptime();
  const int64_t ms = absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)));
  return static_cast<int>(std::clamp<int64_t>(ms, 0, kLongestPoll));
}

// RFC 8305 §5: "The RECOMMENDED value for the Connection Attempt Delay is 250 milliseconds."
constexpr absl::Duration kAttemptDelay = absl::Milliseconds(250);
constexpr size_t kMostAddresses = 16;

// Attempts to connect of which the first to succeed wins.
class Race {
 public:
  ~Race() {
    for (const pollfd& attempt : attempts_) close(attempt.fd);
  }

  void Begin(const sockaddr* address, socklen_t size) {
    const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
      Failed(errno, "make a socket");
      return;
    }
    // A connection that is made at once is writable at once.
    if (connect(fd, address, size) != 0 && errno != EINPROGRESS) {
      Failed(errno, "connect");
      close(fd);
      return;
    }
    attempts_.push_back({fd, POLLOUT, 0});
  }

  bool waiting() const { return !attempts_.empty(); }
  const absl::Status& failed() const { return failed_; }  // why the last that failed did

  // A connected socket, or -1 when `until` has come or an attempt has failed.
  absl::StatusOr<int> Wait(absl::Duration until) {
    const int ready = poll(attempts_.data(), attempts_.size(), MillisecondsTo(until));
    if (ready < 0 && errno != EINTR) return base::ErrnoStatus(errno, "wait for a socket");
    for (size_t i = 0; ready > 0 && i < attempts_.size(); ++i) {
      if (attempts_[i].revents == 0) continue;
      const int fd = attempts_[i].fd;
      attempts_.erase(attempts_.begin() + static_cast<std::ptrdiff_t>(i));
      int error = 0;
      socklen_t length = sizeof(error);
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
      if (error == 0) return fd;
      close(fd);
      Failed(error, "connect");
      return -1;
    }
    return -1;
  }

 private:
  void Failed(int error, absl::string_view what) {
    failed_ = absl::UnavailableError(base::ErrnoStatus(error, what).message());
  }

  std::vector<pollfd> attempts_;
  absl::Status failed_ = absl::UnavailableError("the name has no address");
};

absl::StatusOr<int> DialUnix(const std::string& path, absl::Duration deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.front() != '/' || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError("a Unix address is unix:///ABSOLUTE/PATH");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return ConnectToFirst({{reinterpret_cast<const sockaddr*>(&address), sizeof(address)}}, deadline);
}

absl::Status NotAnAddress(const std::string& address) {
  return absl::InvalidArgumentError(absl::StrCat("\"", absl::CEscape(address),
                                                 "\" is no address; expected HOST:PORT, [V6]:PORT ",
                                                 "or unix:///path"));
}

}  // namespace

absl::Duration DeadlineIn(absl::Duration timeout) { return base::SystemClock().Uptime() + timeout; }

absl::Status WaitFor(int fd, bool writable, absl::Duration deadline) {
  while (true) {
    if (base::SystemClock().Uptime() >= deadline) {
      return absl::DeadlineExceededError("the peer did not answer in time");
    }
    pollfd entry{fd, static_cast<short>(writable ? POLLOUT : POLLIN), 0};
    const int ready = poll(&entry, 1, MillisecondsTo(deadline));
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return base::ErrnoStatus(errno, "wait for a socket");
  }
}

absl::StatusOr<int> ConnectToFirst(const std::vector<SocketAddress>& addresses,
                                   absl::Duration deadline) {
  Race race;
  size_t next = 0;
  absl::Duration begin_at = -absl::InfiniteDuration();
  while (true) {
    const absl::Duration now = base::SystemClock().Uptime();
    if (now >= deadline) return absl::DeadlineExceededError("the peer did not answer in time");
    if (next < addresses.size() && (now >= begin_at || !race.waiting())) {
      race.Begin(addresses[next].first, addresses[next].second);
      ++next;
      begin_at = now + kAttemptDelay;
      continue;
    }
    if (!race.waiting()) return race.failed();
    ASSIGN_OR_RETURN(const int fd,
                     race.Wait(next < addresses.size() ? std::min(begin_at, deadline) : deadline));
    if (fd >= 0) return fd;
  }
}

absl::StatusOr<int> Dial(const std::string& address, absl::Duration deadline) {
  absl::string_view text = address;
  if (absl::ConsumePrefix(&text, "unix://")) return DialUnix(std::string(text), deadline);
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) return NotAnAddress(address);
  std::string host(text.substr(0, colon));
  const std::string port(text.substr(colon + 1));
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (failed != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot resolve ", absl::CEscape(address), ": ", gai_strerror(failed)));
  }
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(found, freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* at = found; at != nullptr && addresses.size() < kMostAddresses;
       at = at->ai_next) {
    addresses.emplace_back(at->ai_addr, at->ai_addrlen);
  }
  absl::StatusOr<int> fd = ConnectToFirst(addresses, deadline);
  if (fd.ok() || absl::IsDeadlineExceeded(fd.status())) return fd;
  return absl::UnavailableError(
      absl::StrCat("cannot connect to ", absl::CEscape(address), ": ", fd.status().message()));
}

absl::Status Prepare(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    return base::ErrnoStatus(errno, "make a socket non-blocking");
  }
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));  // fails on a Unix socket: fine
  return absl::OkStatus();
}

}  // namespace linchpin::tls
