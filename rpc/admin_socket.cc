// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/admin_socket.h"

#include <fcntl.h>
#include <grpcpp/server_context.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/durable_file.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace linchpin::rpc {
namespace {

constexpr mode_t kMode = 0600;
constexpr int kLowestNumber = 64;
constexpr rlim_t kMostNumbers = 65536;  // the kernel's table grows to the highest
constexpr int kRestMilliseconds = 100;

// Numbers go round below this, so that the process's other files find free ones above.
int HighestNumber() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  const rlim_t most = std::min(limit.rlim_cur, kMostNumbers);
  return static_cast<int>(most - most / 8);
}

// Of an open file; 0: none. While a socket is open no other has its inode.
uint64_t InodeOf(int fd) {
  struct stat found {};
  return fstat(fd, &found) == 0 ? found.st_ino : 0;
}

}  // namespace

AdminSocket::AdminSocket(std::unique_ptr<UnixSocket> socket, int wake)
    : socket_(std::move(socket)), wake_(wake), end_(HighestNumber()) {}

AdminSocket::~AdminSocket() {
  Stop();
  close(wake_);
}

absl::StatusOr<std::unique_ptr<AdminSocket>> AdminSocket::Bind(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<UnixSocket> socket, UnixSocket::Bind(path, kMode));
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake < 0) return base::ErrnoStatus(errno, absl::StrCat("watch the socket ", path));
  return std::unique_ptr<AdminSocket>(new AdminSocket(std::move(socket), wake));
}

void AdminSocket::Start(grpc::Server* server) {
  server_ = server;
  thread_ = std::thread([this] { Run(); });
}

void AdminSocket::Stop() {
  if (!thread_.joinable()) return;
  eventfd_write(wake_, 1);
  thread_.join();
}

void AdminSocket::Run() {
  bool resting = false;
  while (true) {
    pollfd files[] = {{wake_, POLLIN, 0}, {socket_->fd(), POLLIN, 0}};
    poll(files, resting ? 1 : std::size(files), resting ? kRestMilliseconds : -1);
    if ((files[0].revents & POLLIN) != 0) return;
    resting = !Accept();
  }
}

bool AdminSocket::Accept() {
  const int fd = accept4(socket_->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) {
    Hand(fd);
    return true;
  }
  const bool waits = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
  if (!waits) Log(absl::StrCat("cannot be accepted: ", std::strerror(errno)));
  return waits;
}

void AdminSocket::Hand(int fd) {
  ucred noted{};
  socklen_t size = sizeof(noted);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &noted, &size) != 0) {
    close(fd);
    return Log("is closed: the kernel does not say whose it is");
  }
  const int number = Renumber(fd);
  if (!Remember(number, {{noted.uid, noted.pid}, InodeOf(number)})) {
    close(number);
    return Log(absl::StrCat("is closed: ", kMostConnections, " are open"));
  }
  grpc::AddInsecureChannelFromFd(server_, number);
}

// A call that began on a connection that has just gone must not find another under its number.
int AdminSocket::Renumber(int fd) {
  if (next_ < kLowestNumber || next_ >= end_) next_ = kLowestNumber;
  int number = fcntl(fd, F_DUPFD_CLOEXEC, next_);
  if (number < 0) number = fcntl(fd, F_DUPFD_CLOEXEC, kLowestNumber);
  if (number < 0) return fd;
  close(fd);
  next_ = number + 1;
  return number;
}

bool AdminSocket::Remember(int number, const Handed& handed) {
  base::MutexLock lock(mutex_);
  for (auto it = handed_.begin(); it != handed_.end();) {
    it = InodeOf(it->first) == it->second.inode ? std::next(it) : handed_.erase(it);
  }
  if (handed_.size() >= kMostConnections) return false;
  handed_[number] = handed;
  return true;
}

std::optional<AdminSocket::Caller> AdminSocket::CallerOf(
    const grpc::ServerContextBase& context) const {
  const std::string name = context.peer();
  absl::string_view digits = name;
  int number = 0;
  if (!absl::ConsumePrefix(&digits, "fd:") || !absl::SimpleAtoi(digits, &number)) {
    return std::nullopt;
  }
  base::MutexLock lock(mutex_);
  const auto found = handed_.find(number);
  if (found == handed_.end() || InodeOf(number) != found->second.inode) return std::nullopt;
  // A call outlives its connection only as a cancelled one; the number may be another's by now.
  if (context.IsCancelled()) return std::nullopt;
  return found->second.caller;
}

void AdminSocket::Log(absl::string_view what) {
  const std::optional<uint64_t> unsaid = log_limit_.Take(base::SystemClock().Uptime());
  if (!unsaid.has_value()) return;
  base::LogWarning(absl::StrCat("a connection to the admin socket ", what),
                   {{"socket", socket_->path()}, {"unsaid_before", absl::StrCat(*unsaid)}});
}

}  // namespace linchpin::rpc
