// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/log/log_segments.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <optional>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/durable_file.h"
#include "base/status_macros.h"
#include "ca/log/issuance_log.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMaxSegments = 1 << 16;
constexpr size_t kMaxSegmentFile =
    IssuanceLog::kSegmentBytes + kLogFrameHeaderBytes + kMaxLogPayload + kLogCheckBytes;
constexpr absl::string_view kPrefix = "issuance-";
constexpr absl::string_view kSuffix = ".log";

std::string SegmentPath(const std::string& directory, uint64_t first_index) {
  return absl::StrFormat("%s/%s%020d%s", directory, kPrefix, first_index, kSuffix);
}

absl::StatusOr<std::vector<std::string>> SegmentPaths(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> paths;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!absl::StartsWith(name, kPrefix) || !absl::EndsWith(name, kSuffix)) continue;
    if (paths.size() == kMaxSegments) {
      return absl::ResourceExhaustedError(absl::StrCat(directory, ": more than ", kMaxSegments,
                                                       " log segments: archive the oldest"));
    }
    paths.push_back(it->path().string());
  }
  if (error) return base::ErrnoStatus(error.value(), absl::StrCat("list ", directory));
  std::sort(paths.begin(), paths.end());
  return paths;
}

absl::Status Lost(const std::string& path, absl::string_view what) {
  return absl::DataLossError(absl::StrCat("issuance log ", path, ": ", what,
                                          ": restore the segment from a backup; nothing is issued "
                                          "until then"));
}

absl::StatusOr<LogSegmentScan> ScanFile(const std::string& path, size_t size,
                                        const LogPosition& continues, LogSegment* segment) {
  ASSIGN_OR_RETURN(const LogFile file, LogFile::Open(path, O_RDONLY));
  ASSIGN_OR_RETURN(const std::string bytes, file.ReadAt(0, size, path));
  const absl::StatusOr<LogPosition> first = DecodeLogHeader(bytes);
  if (!first.ok()) return Lost(path, first.status().message());
  if (first->next_index != continues.next_index || first->hash != continues.hash) {
    return Lost(path, absl::StrCat("at offset 0: it begins at entry ", first->next_index,
                                   " and does not continue the log, which ends before entry ",
                                   continues.next_index));
  }
  absl::StatusOr<LogSegmentScan> scan =
      ScanLogSegment(bytes, [&](size_t offset, uint64_t index) { segment->Mark(offset, index); });
  if (!scan.ok()) return Lost(path, scan.status().message());
  segment->path = path;
  segment->first_index = first->next_index;
  segment->size = scan->whole_bytes;
  return scan;
}

// What is cut off is kept beside it: it may be a whole frame that rotted, and the store may know of
// its entries (ca/core/log_head.h). Returns where, or why not: a full disk keeps no log from
// opening.
absl::StatusOr<std::string> CutTail(const LogSegment& segment) {
  ASSIGN_OR_RETURN(const LogFile file, LogFile::Open(segment.path, O_RDWR));
  ASSIGN_OR_RETURN(const std::string tail,
                   file.ReadAt(segment.size, kMaxSegmentFile, segment.path));
  std::string kept = "nothing but zeros";
  if (tail.find_first_not_of('\0') != std::string::npos) {
    const std::string path = absl::StrCat(segment.path, ".", segment.size, ".torn");
    const absl::Status written = base::WriteFileDurably(path, tail, 0600);
    kept = written.ok() ? absl::StrCat("kept in ", path)
                        : absl::StrCat("not kept: ", written.message());
  }
  if (ftruncate(file.fd(), static_cast<off_t>(segment.size)) != 0) {
    return base::ErrnoStatus(errno, absl::StrCat("cut the torn tail of ", segment.path));
  }
  RETURN_IF_ERROR(file.SyncData(segment.path));
  return kept;
}

}  // namespace

LogFile& LogFile::operator=(LogFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

LogFile::~LogFile() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<LogFile> LogFile::Open(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return base::ErrnoStatus(errno, absl::StrCat("open ", path));
  return LogFile(fd);
}

absl::Status LogFile::WriteAll(absl::string_view bytes, const std::string& path) const {
  while (!bytes.empty()) {
    const ssize_t written = write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return base::ErrnoStatus(errno, absl::StrCat("write ", path));
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status LogFile::SyncData(const std::string& path) const {
  if (fdatasync(fd_) != 0) return base::ErrnoStatus(errno, absl::StrCat("sync ", path));
  return absl::OkStatus();
}

absl::StatusOr<std::string> LogFile::ReadAt(size_t offset, size_t size,
                                            const std::string& path) const {
  struct stat found = {};
  if (fstat(fd_, &found) != 0) return base::ErrnoStatus(errno, absl::StrCat("look at ", path));
  const size_t end = static_cast<size_t>(found.st_size);
  size = std::min(size, end - std::min(offset, end));
  std::string bytes(size, '\0');
  size_t have = 0;
  while (have < size) {
    const ssize_t got =
        pread(fd_, bytes.data() + have, size - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return base::ErrnoStatus(errno, absl::StrCat("read ", path));
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

void LogSegment::Mark(size_t offset, uint64_t index) {
  if (marks.empty() || index >= marks.back().first + kMarkEvery) marks.emplace_back(index, offset);
}

absl::StatusOr<LogSegment> MakeLogSegment(const std::string& directory,
                                          const LogPosition& position) {
  LogSegment segment;
  segment.path = SegmentPath(directory, position.next_index);
  segment.first_index = position.next_index;
  segment.size = kLogHeaderBytes;
  RETURN_IF_ERROR(base::WriteFileDurably(segment.path, EncodeLogHeader(position), 0600));
  return segment;
}

absl::StatusOr<LogFiles> OpenLogFiles(const std::string& directory) {
  LogFiles files;
  ASSIGN_OR_RETURN(const std::vector<std::string> paths, SegmentPaths(directory));
  for (const std::string& path : paths) {
    LogSegment segment;
    ASSIGN_OR_RETURN(const LogSegmentScan scan,
                     ScanFile(path, kMaxSegmentFile, files.end, &segment));
    if (!scan.torn.empty()) {
      if (path != paths.back()) return Lost(path, scan.torn);
      ASSIGN_OR_RETURN(const std::string kept, CutTail(segment));
      files.torn = absl::StrCat(path, " ", scan.torn, " (", kept, ")");
    }
    files.end = scan.end;
    files.segments.push_back(std::move(segment));
  }
  if (files.segments.empty()) {
    ASSIGN_OR_RETURN(LogSegment segment, MakeLogSegment(directory, files.end));
    files.segments.push_back(std::move(segment));
  }
  return files;
}

absl::StatusOr<LogPosition> CheckLogSegments(const std::vector<LogSegment>& segments) {
  LogPosition end;
  for (const LogSegment& segment : segments) {
    LogSegment found;
    ASSIGN_OR_RETURN(const LogSegmentScan scan, ScanFile(segment.path, segment.size, end, &found));
    if (found.size != segment.size) {
      return Lost(segment.path, absl::StrCat("at offset ", found.size, ": ",
                                             segment.size - found.size, " bytes are gone"));
    }
    end = scan.end;
  }
  return end;
}

absl::StatusOr<std::vector<v1::LogEntry>> ReadLogSegment(const LogSegment& segment,
                                                         uint64_t from_index, size_t most) {
  size_t offset = kLogHeaderBytes;
  const auto after =
      std::upper_bound(segment.marks.begin(), segment.marks.end(), from_index,
                       [](uint64_t index, const auto& mark) { return index < mark.first; });
  if (after != segment.marks.begin()) offset = std::prev(after)->second;

  ASSIGN_OR_RETURN(const LogFile file, LogFile::Open(segment.path, O_RDONLY));
  std::vector<v1::LogEntry> entries;
  while (offset < segment.size && entries.size() < most) {
    ASSIGN_OR_RETURN(const std::string header,
                     file.ReadAt(offset, kLogFrameHeaderBytes, segment.path));
    const std::optional<size_t> size = LogFrameBytes(header);
    if (!size.has_value()) return Lost(segment.path, absl::StrCat("at offset ", offset));
    ASSIGN_OR_RETURN(const std::string bytes, file.ReadAt(offset, *size, segment.path));
    const LogFrame frame = DecodeLogFrame(bytes);
    if (frame.state != LogFrameState::kWhole) {
      return Lost(segment.path, absl::StrCat("at offset ", offset, ": ", frame.problem));
    }
    ASSIGN_OR_RETURN(std::vector<v1::LogEntry> all, DecodeLogEntries(frame, nullptr));
    for (v1::LogEntry& entry : all) {
      if (entry.index() < from_index || entries.size() == most) continue;
      entries.push_back(std::move(entry));
    }
    offset += *size;
  }
  return entries;
}

}  // namespace linchpin::ca
