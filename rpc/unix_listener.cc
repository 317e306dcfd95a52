// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/unix_listener.h"

#include <fcntl.h>
#include <grpcpp/server_context.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/durable_file.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace linchpin::rpc {
namespace {

constexpr int kBacklog = 1024;
constexpr int kOutOfResourcesMilliseconds = 100;
constexpr int kIdleSweepMilliseconds = 5000;
constexpr size_t kSweepPerAccept = 64;
constexpr int kLowestNumber = 64;

absl::StatusOr<sockaddr_un> Address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path[0] != '/' || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("the socket '", path,
                                                   "' needs an absolute path of at most ",
                                                   sizeof(address.sun_path) - 1, " bytes"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

int UnixSocket() { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

// Removes what a process that has gone left behind, and nothing else.
absl::Status RemoveStale(const std::string& path, const sockaddr_un& address) {
  struct stat found {};
  if (lstat(path.c_str(), &found) != 0) {
    return errno == ENOENT ? absl::OkStatus()
                           : base::ErrnoStatus(errno, absl::StrCat("look at ", path));
  }
  if (!S_ISSOCK(found.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " exists and is no socket: remove it or name another path"));
  }
  const int probe = UnixSocket();
  if (probe < 0) return base::ErrnoStatus(errno, "make a socket");
  const int result = connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = result == 0 ? 0 : errno;
  close(probe);
  if (error == 0 || error == EAGAIN) {
    return absl::FailedPreconditionError(
        absl::StrCat("another process listens on ", path, ": stop it or name another path"));
  }
  if (error != ECONNREFUSED) return base::ErrnoStatus(error, absl::StrCat("connect to ", path));
  if (unlink(path.c_str()) != 0) return base::ErrnoStatus(errno, absl::StrCat("remove ", path));
  return absl::OkStatus();
}

uint64_t InodeOf(int fd) {
  struct stat found {};
  return fstat(fd, &found) == 0 ? found.st_ino : 0;
}

bool IsOutOfResources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

// Numbers go round below this, so that the process's other files find free ones above.
int HighestNumber() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  const rlim_t most = std::min<rlim_t>(limit.rlim_cur, 4 * UnixListener::kMaxConnections);
  return static_cast<int>(most - most / 8);
}

}  // namespace

UnixListener::UnixListener(std::string path, int fd, uint64_t file)
    : path_(std::move(path)),
      listen_fd_(fd),
      file_(file),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      next_fd_(kLowestNumber) {}

UnixListener::~UnixListener() {
  Stop();
  close(listen_fd_);
  close(wake_fd_);
  struct stat found {};
  if (lstat(path_.c_str(), &found) == 0 && found.st_ino == file_) unlink(path_.c_str());
}

absl::StatusOr<std::unique_ptr<UnixListener>> UnixListener::Bind(const std::string& path,
                                                                 mode_t mode) {
  ASSIGN_OR_RETURN(const sockaddr_un address, Address(path));
  RETURN_IF_ERROR(RemoveStale(path, address));
  const int fd = UnixSocket();
  if (fd < 0) return base::ErrnoStatus(errno, "make a socket");
  // On Linux the file takes its first mode from the unbound socket: at no instant is it more open
  // than it ends. (The umask would be every thread's.)
  absl::Status status;
  struct stat found {};
  if (fchmod(fd, mode) != 0 ||
      bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    status = base::ErrnoStatus(errno, absl::StrCat("bind the socket ", path));
  } else if (chmod(path.c_str(), mode) != 0 || listen(fd, kBacklog) != 0 ||
             lstat(path.c_str(), &found) != 0) {
    status = base::ErrnoStatus(errno, absl::StrCat("listen on the socket ", path));
    unlink(path.c_str());
  }
  if (!status.ok()) {
    close(fd);
    return status;
  }
  std::unique_ptr<UnixListener> listener(new UnixListener(path, fd, found.st_ino));
  if (listener->wake_fd_ < 0) return base::ErrnoStatus(errno, "make an eventfd");
  return listener;
}

void UnixListener::Start(grpc::Server* server) {
  server_ = server;
  thread_ = std::thread([this] { Accept(); });
}

void UnixListener::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
  thread_.join();
}

void UnixListener::Accept() {
  bool resting = false;
  while (true) {
    // While resting, only the end is waited for.
    pollfd asked[2] = {{wake_fd_, POLLIN, 0}, {listen_fd_, POLLIN, 0}};
    const int ready = poll(asked, resting ? 1 : 2,
                           resting ? kOutOfResourcesMilliseconds : kIdleSweepMilliseconds);
    if (asked[0].revents != 0) return;
    if (ready < 0 && errno != EINTR) {
      base::LogError("a Unix socket is no longer served",
                     {{"socket", path_}, {"error", std::strerror(errno)}});
      return;
    }
    if (ready == 0) Sweep(kMaxConnections);
    const bool rested = resting;
    resting = !AcceptAll();
    if (resting && !rested) {
      base::LogWarning("no further connection can be accepted for now: out of files or memory",
                       {{"socket", path_}});
    }
  }
}

bool UnixListener::AcceptAll() {
  // Returns to the poll now and then, so that Stop() is seen however many come.
  for (int i = 0; i < kBacklog; ++i) {
    const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      HandOver(fd);
      continue;
    }
    if (IsOutOfResources(errno)) return false;
    if (errno != EINTR && errno != ECONNABORTED) return true;
  }
  return true;
}

int UnixListener::MoveToNextNumber(int fd) {
  if (next_fd_ >= HighestNumber()) next_fd_ = kLowestNumber;
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, next_fd_);
  if (moved < 0) moved = fcntl(fd, F_DUPFD_CLOEXEC, kLowestNumber);
  if (moved < 0) return fd;  // the number it has will do: it is only sooner reused
  close(fd);
  next_fd_ = moved + 1;
  return moved;
}

bool UnixListener::HasRoomFor(uid_t uid) {
  const auto has_room = [&] {
    base::MutexLock lock(mutex_);
    const auto found = of_user_.find(uid);
    return connections_.size() < kMaxConnections &&
           (found == of_user_.end() || found->second < kMaxConnectionsOfUser);
  };
  if (has_room()) return true;
  Sweep(kMaxConnections);
  return has_room();
}

void UnixListener::HandOver(int fd) {
  absl::StatusOr<std::shared_ptr<const UnixPeer>> peer = UnixPeer::FromSocket(fd);
  if (!peer.ok() || !HasRoomFor((*peer)->uid())) {
    if (const auto unsaid = log_limit_.Take(base::SystemClock().Uptime())) {
      base::LogWarning(
          "a connection is refused",
          {{"socket", path_},
           {"why", peer.ok() ? "too many connections" : std::string(peer.status().message())},
           {"unsaid_before", absl::StrCat(*unsaid)}});
    }
    close(fd);
    return;
  }
  Sweep(kSweepPerAccept);
  const int number = MoveToNextNumber(fd);
  {
    base::MutexLock lock(mutex_);
    Connection& connection = connections_[number];
    if (connection.peer != nullptr) --of_user_[connection.peer->uid()];
    ++of_user_[(*peer)->uid()];
    connection = {*std::move(peer), InodeOf(number)};
  }
  grpc::AddInsecureChannelFromFd(server_, number);
}

void UnixListener::Sweep(size_t most) {
  base::MutexLock lock(mutex_);
  auto it = connections_.lower_bound(sweep_from_);
  for (size_t left = std::min(most, connections_.size()); left > 0; --left) {
    if (it == connections_.end()) it = connections_.begin();
    if (InodeOf(it->first) == it->second.inode) {
      ++it;
      continue;
    }
    const auto of_user = of_user_.find(it->second.peer->uid());
    if (--of_user->second == 0) of_user_.erase(of_user);
    it = connections_.erase(it);
    if (connections_.empty()) break;
  }
  sweep_from_ = it == connections_.end() ? 0 : it->first;
}

std::shared_ptr<const UnixPeer> UnixListener::PeerOf(const grpc::ServerContextBase& context) const {
  const std::string name = context.peer();
  absl::string_view digits = name;
  int number = 0;
  if (!absl::ConsumePrefix(&digits, "fd:") || !absl::SimpleAtoi(digits, &number)) return nullptr;
  base::MutexLock lock(mutex_);
  const auto found = connections_.find(number);
  if (found == connections_.end() || InodeOf(number) != found->second.inode) return nullptr;
  // A call outlives its connection only as a cancelled one; the number may be another's by now.
  if (context.IsCancelled()) return nullptr;
  return found->second.peer;
}

}  // namespace linchpin::rpc
