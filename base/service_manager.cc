// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/durable_file.h"

namespace linchpin::base {
namespace {

absl::Status Notify(absl::string_view state) {
  const char* const name = std::getenv("NOTIFY_SOCKET");
  if (name == nullptr) return absl::OkStatus();
  std::string path = name;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() < 2 || path.size() >= sizeof(address.sun_path) ||
      (path[0] != '/' && path[0] != '@')) {
    return absl::InvalidArgumentError(
        absl::StrCat("NOTIFY_SOCKET is '", path, "'; a path or @name is expected"));
  }
  if (path[0] == '@') path[0] = '\0';  // a name that is in no directory
  std::copy(path.begin(), path.end(), address.sun_path);
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus(errno, "make a socket for the service manager");
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const ssize_t sent = sendto(fd, state.data(), state.size(), MSG_NOSIGNAL,
                              reinterpret_cast<const sockaddr*>(&address), size);
  const absl::Status status =
      sent < 0 ? ErrnoStatus(errno, absl::StrCat("tell the service manager ", state))
               : absl::OkStatus();
  close(fd);
  return status;
}

}  // namespace

absl::Status NotifyReady() { return Notify("READY=1"); }
absl::Status NotifyStopping() { return Notify("STOPPING=1"); }

}  // namespace linchpin::base
