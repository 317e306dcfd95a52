// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/unix_peer.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/durable_file.h"
#include "base/status_macros.h"

namespace linchpin::rpc {
namespace {

// Linux 6.5; not in Debian 12's headers.
constexpr int kSoPeerPidfd = 77;
// Of the 52 fields of /proc/PID/stat, counted from the state, which follows the name.
constexpr size_t kStartTimeAfterName = 19;
// "Uid:" is followed by the real, effective, saved and file system user.
constexpr size_t kEffectiveUser = 1;
constexpr size_t kMaxProcFile = 8192;

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

int PidfdOfSocket(int socket) {
  int pidfd = -1;
  socklen_t size = sizeof(pidfd);
  return getsockopt(socket, SOL_SOCKET, kSoPeerPidfd, &pidfd, &size) == 0 ? pidfd : -1;
}

class Kernel final : public ProcessTable {
 public:
  bool SocketsHoldProcesses() const override {
    static const bool they_do = [] {
      int pair[2];
      if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return true;
      const int pidfd = PidfdOfSocket(pair[0]);
      const bool known = pidfd >= 0 || errno != ENOPROTOOPT;
      for (const int fd : {pair[0], pair[1], pidfd}) {
        if (fd >= 0) close(fd);
      }
      return known;
    }();
    return they_do;
  }

  absl::StatusOr<int> Open(int socket, pid_t pid) const override {
    const int pidfd = socket != kNoSocket && SocketsHoldProcesses()
                          ? PidfdOfSocket(socket)
                          : static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (pidfd >= 0) return pidfd;
    const absl::Status status = base::ErrnoStatus(errno, absl::StrCat("hold process ", pid));
    return absl::IsResourceExhausted(status) ? status : Gone(pid);
  }

  absl::StatusOr<std::string> Read(pid_t pid, absl::string_view file) const override {
    return base::ReadFile(absl::StrCat("/proc/", pid, "/", file), kMaxProcFile);
  }
};

absl::StatusOr<uint64_t> StartTimeOf(pid_t pid, const ProcessTable& table) {
  ASSIGN_OR_RETURN(const std::string stat, table.Read(pid, "stat"));
  return ParseStartTime(stat);
}

absl::StatusOr<uid_t> UserOf(pid_t pid, const ProcessTable& table) {
  ASSIGN_OR_RETURN(const std::string status, table.Read(pid, "status"));
  return ParseUser(status);
}

}  // namespace

const ProcessTable& KernelProcessTable() {
  static const Kernel& kernel = *new Kernel();
  return kernel;
}

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

absl::StatusOr<uid_t> ParseUser(absl::string_view status) {
  // The name, which is the process's own choice, has its line breaks escaped by the kernel.
  for (absl::string_view line : absl::StrSplit(status, '\n')) {
    if (!absl::ConsumePrefix(&line, "Uid:")) continue;
    const std::vector<absl::string_view> users =
        absl::StrSplit(line, absl::ByAnyChar("\t "), absl::SkipEmpty());
    uid_t user = 0;
    if (users.size() > kEffectiveUser && absl::SimpleAtoi(users[kEffectiveUser], &user)) {
      return user;
    }
  }
  return absl::InvalidArgumentError("/proc/PID/status has no user");
}

absl::StatusOr<PeerCredentials> PeerCredentials::FromSocket(int socket, const ProcessTable& table) {
  ucred noted{};
  socklen_t size = sizeof(noted);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &noted, &size) != 0) {
    return base::ErrnoStatus(errno, "read the credentials of a Unix peer");
  }
  if (noted.pid <= 0) {
    return absl::FailedPreconditionError(
        "the process that connected is of a pid namespace that is not visible here: run the agent "
        "in the host's pid namespace");
  }
  PeerCredentials credentials{.pid = noted.pid, .uid = noted.uid, .gid = noted.gid};
  if (table.SocketsHoldProcesses()) return credentials;
  const absl::StatusOr<uint64_t> start_time = StartTimeOf(noted.pid, table);
  const absl::StatusOr<uid_t> user = UserOf(noted.pid, table);
  if (!start_time.ok() || !user.ok() || *user != noted.uid) return Gone(noted.pid);
  credentials.start_time = *start_time;
  return credentials;
}

absl::StatusOr<std::shared_ptr<const UnixPeer>> UnixPeer::Hold(int socket,
                                                               const PeerCredentials& credentials,
                                                               std::function<void()> released,
                                                               const ProcessTable& table) {
  const pid_t pid = credentials.pid;
  ASSIGN_OR_RETURN(const int pidfd, table.Open(socket, pid));
  std::shared_ptr<UnixPeer> peer(new UnixPeer(credentials, pidfd));
  const absl::StatusOr<uint64_t> start_time = StartTimeOf(pid, table);
  // Alive after that look: it was at this process and at no other with its pid.
  if (!start_time.ok() || HasExited(pidfd)) return Gone(pid);
  if (!table.SocketsHoldProcesses() && *start_time != credentials.start_time) return Gone(pid);
  peer->credentials_.start_time = *start_time;
  peer->released_ = std::move(released);
  return std::shared_ptr<const UnixPeer>(std::move(peer));
}

absl::StatusOr<std::shared_ptr<const UnixPeer>> UnixPeer::HoldAgain(pid_t pid, uint64_t start_time,
                                                                    const ProcessTable& table) {
  ASSIGN_OR_RETURN(const int pidfd, table.Open(ProcessTable::kNoSocket, pid));
  std::shared_ptr<const UnixPeer> peer(new UnixPeer({.pid = pid, .start_time = start_time}, pidfd));
  const absl::StatusOr<uint64_t> started = StartTimeOf(pid, table);
  if (!started.ok() || *started != start_time || !peer->IsAlive()) return Gone(pid);
  return peer;
}

UnixPeer::~UnixPeer() {
  close(pidfd_);
  if (released_ != nullptr) released_();
}

bool UnixPeer::IsAlive() const { return !HasExited(pidfd_); }

}  // namespace linchpin::rpc
