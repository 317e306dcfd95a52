// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/status_macros.h"

namespace linchpin::rpc {
namespace {

constexpr int kBacklog = 4096;
constexpr int kPassRights = 83;  // SO_PASSRIGHTS, which older headers do not name

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

int NewSocket() { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

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
  const int probe = NewSocket();
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

}  // namespace

UnixSocket::~UnixSocket() {
  close(fd_);
  struct stat found {};
  if (lstat(path_.c_str(), &found) == 0 && found.st_ino == file_) unlink(path_.c_str());
}

absl::StatusOr<std::unique_ptr<UnixSocket>> UnixSocket::Bind(const std::string& path, mode_t mode) {
  ASSIGN_OR_RETURN(const sockaddr_un address, Address(path));
  RETURN_IF_ERROR(RemoveStale(path, address));
  const int fd = NewSocket();
  if (fd < 0) return base::ErrnoStatus(errno, "make a socket");
  // Files that are sent along would be closed, which may take long, by the thread that reads.
  // Linux before 6.16 does not know this.
  const int never = 0;
  (void)setsockopt(fd, SOL_SOCKET, kPassRights, &never, sizeof(never));
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
  return std::unique_ptr<UnixSocket>(new UnixSocket(path, fd, found.st_ino));
}

}  // namespace linchpin::rpc
