// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The files of an issuance log: which there are, where an entry is, reading and checking them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ca/log/log_format.h"

namespace linchpin::ca {

// A file descriptor that closes itself.
class LogFile {
 public:
  LogFile() = default;
  explicit LogFile(int fd) : fd_(fd) {}
  LogFile(LogFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  LogFile& operator=(LogFile&& other) noexcept;
  ~LogFile();

  static absl::StatusOr<LogFile> Open(const std::string& path, int flags);
  absl::Status WriteAll(absl::string_view bytes, const std::string& path) const;
  absl::Status SyncData(const std::string& path) const;
  // Fewer bytes than `size` only at the end of the file.
  absl::StatusOr<std::string> ReadAt(size_t offset, size_t size, const std::string& path) const;
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

struct LogSegment {
  std::string path;
  uint64_t first_index = 0;
  size_t size = 0;  // durable bytes
  // Offsets of frames and their first indexes, one in at least kMarkEvery entries.
  std::vector<std::pair<uint64_t, size_t>> marks;

  static constexpr uint64_t kMarkEvery = 256;
  void Mark(size_t offset, uint64_t index);
};

struct LogFiles {
  std::vector<LogSegment> segments;
  LogPosition end;
  std::string torn;  // cut from the last segment; names it
};

// Makes an empty segment that continues at `position`, durably.
absl::StatusOr<LogSegment> MakeLogSegment(const std::string& directory,
                                          const LogPosition& position);

// Finds and checks all segments, makes the first, cuts off a torn tail. DATA_LOSS names segment and
// offset.
absl::StatusOr<LogFiles> OpenLogFiles(const std::string& directory);

// Checks what `segments` say is durable; DATA_LOSS names segment and offset.
absl::StatusOr<LogPosition> CheckLogSegments(const std::vector<LogSegment>& segments);

// Up to `most` entries of one segment from `from_index`, which must be in it or just after it.
absl::StatusOr<std::vector<v1::LogEntry>> ReadLogSegment(const LogSegment& segment,
                                                         uint64_t from_index, size_t most);

}  // namespace linchpin::ca
