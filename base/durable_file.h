// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Files that survive power loss: written whole under another name, synced, renamed, directory
// synced.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::base {

// Replaces `path` with `contents`, all or nothing, also across a crash. Happy path: openat(tmp,
// O_CREAT|O_EXCL, mode), write*, fsync, rename, fsync(dir). On failure the old file stays and the
// temporary is removed (only if the last step fails, the new file is in place but may not survive
// power loss). RESOURCE_EXHAUSTED: disk full or quota; PERMISSION_DENIED; NOT_FOUND: no such
// directory; else INTERNAL.
absl::Status WriteFileDurably(const std::string& path, absl::string_view contents,
                              mode_t mode = 0600);

// The whole file. NOT_FOUND; RESOURCE_EXHAUSTED if larger than `max_size`.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_size);

// Makes `path` with `mode` (and parents, 0755) as directories. An existing one must be ours,
// neither a symbolic link nor a shared (sticky) directory: FAILED_PRECONDITION; its mode is set.
absl::Status EnsureDirectory(const std::string& path, mode_t mode);

// NOT_FOUND if there is none.
absl::Status RemoveFileDurably(const std::string& path);
absl::Status SyncDirectory(const std::string& path);

// Removes what WriteFileDurably() left in `directory` when it was killed or the power failed (its
// NAME.tmp.HEX, which may hold a key); subdirectories are not looked into. Call before anything is
// written there. Returns how many it removed; the error of the first that cannot be.
absl::StatusOr<int> RemoveTemporaries(const std::string& directory);

// Holds an exclusive lock on DIR/lock for as long as it lives, so that two processes cannot share a
// data directory. FAILED_PRECONDITION, naming the directory, if another holds it.
class DirectoryLock {
 public:
  static absl::StatusOr<DirectoryLock> Acquire(const std::string& directory);
  DirectoryLock(DirectoryLock&& other) noexcept;
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

// errno as a Status: `doing` says what was tried, e.g. "write /var/lib/x". NOT_FOUND,
// ALREADY_EXISTS, PERMISSION_DENIED (also a read-only file system), RESOURCE_EXHAUSTED (disk,
// quota, files, memory), else INTERNAL.
absl::Status ErrnoStatus(int error, absl::string_view doing);

}  // namespace linchpin::base
