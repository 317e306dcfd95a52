// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/unix_peer.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/durable_file.h"
#include "base/status_macros.h"

namespace linchpin::rpc {
namespace {

// Linux 6.5; not in Debian 12's headers.
constexpr int kSoPeerPidfd = 77;
// Of the 52 fields of /proc/PID/stat, counted from the state, which follows the name.
constexpr size_t kStartTimeAfterName = 19;

absl::StatusOr<uint64_t> StartTimeOf(pid_t pid) {
  ASSIGN_OR_RETURN(const std::string stat,
                   base::ReadFile(absl::StrCat("/proc/", pid, "/stat"), 4096));
  return ParseStartTime(stat);
}

absl::Status Gone(pid_t pid) {
  return absl::FailedPreconditionError(absl::StrCat(
      "the process ", pid, " that connected has exited: who is calling cannot be told"));
}

bool HasExited(int pidfd) {
  pollfd asked{pidfd, POLLIN, 0};
  int answer = poll(&asked, 1, 0);
  while (answer < 0 && errno == EINTR) answer = poll(&asked, 1, 0);
  return answer != 0;  // an error is no sign of life
}

// The kernel's own handle of the process that connected, or -1 where it has none to give.
int AskKernelForPidfd(int fd) {
  int pidfd = -1;
  socklen_t size = sizeof(pidfd);
  if (getsockopt(fd, SOL_SOCKET, kSoPeerPidfd, &pidfd, &size) != 0) return -1;
  return pidfd;
}

int OpenPidfd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

}  // namespace

absl::StatusOr<uint64_t> ParseStartTime(absl::string_view stat) {
  const size_t name_end = stat.rfind(')');
  if (name_end == absl::string_view::npos) {
    return absl::InvalidArgumentError("/proc/PID/stat has no program name in brackets");
  }
  const std::vector<absl::string_view> fields =
      absl::StrSplit(stat.substr(name_end + 1), ' ', absl::SkipEmpty());
  uint64_t start_time = 0;
  if (fields.size() <= kStartTimeAfterName ||
      !absl::SimpleAtoi(fields[kStartTimeAfterName], &start_time)) {
    return absl::InvalidArgumentError("/proc/PID/stat has no start time");
  }
  return start_time;
}

absl::StatusOr<std::shared_ptr<const UnixPeer>> UnixPeer::FromSocket(int fd) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return base::ErrnoStatus(errno, "read the credentials of a Unix peer");
  }
  if (credentials.pid <= 0) {
    return absl::FailedPreconditionError(
        "the process that connected is of a pid namespace that is not visible here: run the agent "
        "in the host's pid namespace");
  }
  std::shared_ptr<UnixPeer> peer(new UnixPeer);
  peer->pid_ = credentials.pid;
  peer->uid_ = credentials.uid;
  peer->gid_ = credentials.gid;
  peer->pidfd_ = AskKernelForPidfd(fd);
  absl::StatusOr<uint64_t> before = StartTimeOf(credentials.pid);
  if (peer->pidfd_ < 0) peer->pidfd_ = OpenPidfd(credentials.pid);
  if (peer->pidfd_ < 0 || !before.ok()) return Gone(credentials.pid);
  const absl::StatusOr<uint64_t> after = StartTimeOf(credentials.pid);
  // Alive after both looks: they were at this process and at no other with its pid.
  if (!after.ok() || *before != *after || HasExited(peer->pidfd_)) return Gone(credentials.pid);
  peer->start_time_ = *after;
  return std::shared_ptr<const UnixPeer>(std::move(peer));
}

UnixPeer::~UnixPeer() {
  if (pidfd_ >= 0) close(pidfd_);
}

bool UnixPeer::IsAlive() const { return !HasExited(pidfd_); }

}  // namespace linchpin::rpc
