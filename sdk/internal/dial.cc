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
#include <cstring>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/durable_file.h"

namespace linchpin::tls {
namespace {

constexpr int kLongestPoll = 60'000;  // ms; then looks at the clock again

absl::Status ConnectTo(int fd, const sockaddr* address, socklen_t size, absl::Duration deadline) {
  if (connect(fd, address, size) == 0) return absl::OkStatus();
  if (errno != EINPROGRESS) return base::ErrnoStatus(errno, "connect");
  if (absl::Status waited = WaitFor(fd, true, deadline); !waited.ok()) return waited;
  int error = 0;
  socklen_t length = sizeof(error);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  return error == 0 ? absl::OkStatus() : base::ErrnoStatus(error, "connect");
}

absl::StatusOr<int> SocketTo(const sockaddr* address, socklen_t size, absl::Duration deadline) {
  const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return base::ErrnoStatus(errno, "make a socket");
  absl::Status connected = ConnectTo(fd, address, size, deadline);
  if (connected.ok()) connected = Prepare(fd);
  if (connected.ok()) return fd;
  close(fd);
  return connected;
}

absl::StatusOr<int> DialUnix(const std::string& path, absl::Duration deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.front() != '/' || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError("a Unix address is unix:///ABSOLUTE/PATH");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return SocketTo(reinterpret_cast<const sockaddr*>(&address), sizeof(address), deadline);
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
    const absl::Duration left = deadline - base::SystemClock().Uptime();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError("the peer did not answer in time");
    }
    const int64_t ms = absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)));
    pollfd entry{fd, static_cast<short>(writable ? POLLOUT : POLLIN), 0};
    const int ready = poll(&entry, 1, static_cast<int>(std::min<int64_t>(ms, kLongestPoll)));
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return base::ErrnoStatus(errno, "wait for a socket");
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
  absl::Status last = absl::UnavailableError("the name has no address");
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    absl::StatusOr<int> fd = SocketTo(entry->ai_addr, entry->ai_addrlen, deadline);
    if (fd.ok() || absl::IsDeadlineExceeded(fd.status())) return fd;
    last = fd.status();
  }
  return absl::UnavailableError(
      absl::StrCat("cannot connect to ", absl::CEscape(address), ": ", last.message()));
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
