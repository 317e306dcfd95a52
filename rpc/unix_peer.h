// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The process at the other end of a Unix socket.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::rpc {

// What is asked of the kernel about processes. Safe for concurrent use.
class ProcessTable {
 public:
  virtual ~ProcessTable() = default;
  // A connected socket names its process, not only the number (SO_PEERPIDFD, Linux 6.5).
  virtual bool SocketsHoldProcesses() const = 0;
  // A pidfd of the process that connected `socket` where sockets hold processes, else, and where
  // `socket` is kNoSocket, of whichever has `pid`. FAILED_PRECONDITION: it has gone;
  // RESOURCE_EXHAUSTED: out of files.
  static constexpr int kNoSocket = -1;
  virtual absl::StatusOr<int> Open(int socket, pid_t pid) const = 0;
  virtual absl::StatusOr<std::string> Read(pid_t pid, absl::string_view file) const = 0;
};

const ProcessTable& KernelProcessTable();

// What the kernel noted when the connection was made; costs no file descriptor to keep.
//
// Which process is it? The one that called connect(), whoever holds the connection now: a child
// that inherited it, or a process that was sent it, acts as that one as long as that one lives.
struct PeerCredentials {
  // Of a connected socket, soon after it was accepted. FAILED_PRECONDITION: the process has gone,
  // or is of another pid namespace.
  static absl::StatusOr<PeerCredentials> FromSocket(
      int socket, const ProcessTable& table = KernelProcessTable());

  pid_t pid = -1;
  uid_t uid = 0;
  gid_t gid = 0;
  // Where sockets do not hold processes: when that with the pid started, for Hold() to compare. It
  // had the very user that connected; what is left to chance is that a process ends, another of its
  // user is given its pid, and all that between connect() and accept().
  uint64_t start_time = 0;
};

// That process, held so that its pid cannot be taken over unnoticed. Immutable; shared by the calls
// of a connection.
class UnixPeer {
 public:
  // `credentials` are those of `socket`; `released` is called once, last, in any thread.
  // FAILED_PRECONDITION: the process has gone.
  static absl::StatusOr<std::shared_ptr<const UnixPeer>> Hold(
      int socket, const PeerCredentials& credentials, std::function<void()> released = nullptr,
      const ProcessTable& table = KernelProcessTable());
  // One that connected to another, earlier: as it was known then. Its user and group are not known.
  static absl::StatusOr<std::shared_ptr<const UnixPeer>> HoldAgain(
      pid_t pid, uint64_t start_time, const ProcessTable& table = KernelProcessTable());
  ~UnixPeer();
  UnixPeer(const UnixPeer&) = delete;

  pid_t pid() const { return credentials_.pid; }
  uid_t uid() const { return credentials_.uid; }
  gid_t gid() const { return credentials_.gid; }
  // When it started, in clock ticks since boot, as the kernel counts.
  uint64_t start_time() const { return credentials_.start_time; }
  // The very process still runs (not a zombie, not another with its pid).
  bool IsAlive() const;
  // Readable when the process has exited. Borrowed.
  int pidfd() const { return pidfd_; }

 private:
  UnixPeer(const PeerCredentials& credentials, int pidfd)
      : credentials_(credentials), pidfd_(pidfd) {}

  PeerCredentials credentials_;
  const int pidfd_;
  std::function<void()> released_;
};

// The start time in the text of /proc/PID/stat. INVALID_ARGUMENT. (The program's name in it is the
// process's own choice and may hold spaces and brackets.)
absl::StatusOr<uint64_t> ParseStartTime(absl::string_view stat);
// The effective user in the text of /proc/PID/status. INVALID_ARGUMENT.
absl::StatusOr<uid_t> ParseUser(absl::string_view status);

}  // namespace linchpin::rpc
