// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The process at the other end of a Unix socket.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::rpc {

// The process at the other end when it connected, held so that its pid cannot be taken over
// unnoticed: SO_PEERPIDFD where the kernel has it, else pidfd_open with the start time compared
// before and after. Immutable; shared by the calls of a connection.
class UnixPeer {
 public:
  // FAILED_PRECONDITION: the process has gone, or is of another pid namespace.
  static absl::StatusOr<std::shared_ptr<const UnixPeer>> FromSocket(int fd);
  ~UnixPeer();
  UnixPeer(const UnixPeer&) = delete;

  pid_t pid() const { return pid_; }
  uid_t uid() const { return uid_; }
  gid_t gid() const { return gid_; }
  // The very process still runs (not a zombie, not another with its pid).
  bool IsAlive() const;
  // Readable when the process has exited; -1 never. Borrowed.
  int pidfd() const { return pidfd_; }

  // When it started, in clock ticks since boot, as the kernel counts.
  uint64_t start_time() const { return start_time_; }

 private:
  UnixPeer() = default;
  pid_t pid_ = -1;
  uid_t uid_ = 0;
  gid_t gid_ = 0;
  int pidfd_ = -1;
  uint64_t start_time_ = 0;
};

// The start time in the text of /proc/PID/stat. INVALID_ARGUMENT. (The program's name in it is the
// process's own choice and may hold spaces and brackets.)
absl::StatusOr<uint64_t> ParseStartTime(absl::string_view stat);

}  // namespace linchpin::rpc
