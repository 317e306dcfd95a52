// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A directory of files that belong together, for readers that know files alone. All of them change
// at one instant:
//   DIR/.generation-7/{chain.pem, key.pem, …}   never changed once it is current
//   DIR/current -> .generation-7                replaced by rename
//   DIR/chain.pem -> current/chain.pem          for readers of one file
// A reader of several files resolves DIR/current once and opens them there: they are of one
// generation, and stay for at least a minute after they were replaced.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace linchpin::base {

struct SwappedFile {
  std::string name;
  absl::string_view contents;
  bool secret = false;
};

struct SwappedDirectoryOptions {
  std::string directory;      // absolute; its parent exists
  mode_t secret_mode = 0600;  // of secret files; the others are 0644
  std::optional<uid_t> uid;   // who owns the files (never the directories); unset: the caller
  std::optional<gid_t> gid;
};

// Makes its holder the only writer of a directory, from the first SwapFiles() that finds the
// directory as it must be, until it goes. It is of DIR/.lock, which its owner alone can open:
// whoever can open a file, for reading too, can lock it.
class WriterLock {
 public:
  WriterLock() = default;
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;
  ~WriterLock();
  // Of the directory that is open as `directory`; of one that took its place, anew.
  absl::Status Take(int directory, const std::string& path);

 private:
  int fd_ = -1;
};

// Makes `files` the ones in force, durably. At any failure or crash before that instant the old
// ones stay. The directory is made (0755) if it is not there. Older generations go a minute after
// they were replaced, at the next call, and those beyond the sixteenth at once. INVALID_ARGUMENT:
// not absolute. FAILED_PRECONDITION: a symbolic link or no directory, not the caller's own,
// writable by others, holding anything else, or another holds its lock.
// RESOURCE_EXHAUSTED: disk full; PERMISSION_DENIED: also for an owner that only root may set.
// Threads: any, but one call a lock at a time.
absl::Status SwapFiles(const SwappedDirectoryOptions& options,
                       const std::vector<SwappedFile>& files, absl::Time now, WriterLock* lock);

}  // namespace linchpin::base
