// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/log/issuance_log.h"

#include <fcntl.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/status_macros.h"
#include "ca/log/log_format.h"
#include "ca/log/log_segments.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMaxBatchBytes = kMaxLogPayload / 2;
// Of an entry beyond its fields as appended: framing, index, hash.
constexpr size_t kEntryOverhead = 128;
constexpr size_t kMaxRead = 10000;

struct Pending {
  std::vector<v1::LogEntry> entries;
  IssuanceLog::Done done;
  size_t bytes = 0;
};

absl::Status CheckEntries(const std::vector<v1::LogEntry>& entries, size_t* bytes) {
  if (entries.empty()) return absl::InvalidArgumentError("an append needs at least one entry");
  for (const v1::LogEntry& entry : entries) {
    const size_t size = entry.ByteSizeLong();
    if (size > IssuanceLog::kMaxRecordBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("a log entry of ", size, " bytes: at most ", IssuanceLog::kMaxRecordBytes));
    }
    *bytes += size + kEntryOverhead;
  }
  if (*bytes > kMaxBatchBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("an append of ", *bytes, " bytes: at most ", kMaxBatchBytes));
  }
  return absl::OkStatus();
}

}  // namespace

struct IssuanceLog::Impl {
  std::string directory;
  LogFile file;          // the last segment; of whoever writes
  LogPosition position;  // after what was written; of whoever writes

  mutable base::Mutex mutex;
  std::deque<Pending> queue;
  size_t queued = 0;     // entries
  bool writing = false;  // somebody does
  absl::Status health;
  LogPosition durable;
  std::vector<LogSegment> segments;

  void WriteQueued();
  std::vector<Pending> TakeBatch(base::MutexLock& lock);
  absl::Status WriteBatch(std::vector<Pending>& batch);
  absl::Status WriteFrame(const std::string& frame, uint64_t first_index);
  absl::Status RollSegment();
  void End(const absl::Status& error);
};

// Everything that waits, up to what one frame may hold.
std::vector<Pending> IssuanceLog::Impl::TakeBatch(base::MutexLock&) {
  std::vector<Pending> batch;
  size_t bytes = 0;
  while (!queue.empty() && bytes + queue.front().bytes <= kMaxBatchBytes) {
    bytes += queue.front().bytes;
    queued -= queue.front().entries.size();
    batch.push_back(std::move(queue.front()));
    queue.pop_front();
  }
  return batch;
}

void IssuanceLog::Impl::WriteQueued() {
  while (true) {
    std::vector<Pending> batch;
    {
      base::MutexLock lock(mutex);
      if (queue.empty()) {
        writing = false;
        return;
      }
      batch = TakeBatch(lock);
    }
    const absl::Status written = WriteBatch(batch);
    if (!written.ok()) End(written);
    for (Pending& pending : batch) pending.done(written);
  }
}

absl::Status IssuanceLog::Impl::WriteBatch(std::vector<Pending>& batch) {
  std::vector<v1::LogEntry> entries;
  for (Pending& pending : batch) {
    entries.insert(entries.end(), std::make_move_iterator(pending.entries.begin()),
                   std::make_move_iterator(pending.entries.end()));
  }
  const uint64_t first_index = position.next_index;
  return WriteFrame(EncodeLogFrame(&entries, &position), first_index);
}

absl::Status IssuanceLog::Impl::WriteFrame(const std::string& frame, uint64_t first_index) {
  // Only who writes changes the segments, so reading them here needs no lock.
  if (segments.back().size >= kSegmentBytes) RETURN_IF_ERROR(RollSegment());
  const std::string& path = segments.back().path;
  RETURN_IF_ERROR(file.WriteAll(frame, path));
  RETURN_IF_ERROR(file.SyncData(path));
  base::MutexLock lock(mutex);
  segments.back().Mark(segments.back().size, first_index);
  segments.back().size += frame.size();
  durable = position;
  return absl::OkStatus();
}

absl::Status IssuanceLog::Impl::RollSegment() {
  ASSIGN_OR_RETURN(LogSegment next, MakeLogSegment(directory, durable));
  ASSIGN_OR_RETURN(file, LogFile::Open(next.path, O_WRONLY | O_APPEND));
  base::MutexLock lock(mutex);
  segments.push_back(std::move(next));
  return absl::OkStatus();
}

void IssuanceLog::Impl::End(const absl::Status& error) {
  std::deque<Pending> rest;
  {
    base::MutexLock lock(mutex);
    health = error;
    rest.swap(queue);
    queued = 0;
  }
  for (Pending& pending : rest) pending.done(error);
}

IssuanceLog::IssuanceLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<IssuanceLog>> IssuanceLog::Open(const std::string& directory) {
  RETURN_IF_ERROR(base::EnsureDirectory(directory, 0700));
  ASSIGN_OR_RETURN(LogFiles files, OpenLogFiles(directory));
  auto impl = std::make_unique<Impl>();
  impl->directory = directory;
  ASSIGN_OR_RETURN(impl->file, LogFile::Open(files.segments.back().path, O_WRONLY | O_APPEND));
  impl->position = files.end;
  impl->durable = std::move(files.end);
  impl->segments = std::move(files.segments);
  auto log = std::unique_ptr<IssuanceLog>(new IssuanceLog(std::move(impl)));
  log->recovered_ = std::move(files.torn);
  return log;
}

IssuanceLog::~IssuanceLog() = default;

void IssuanceLog::Append(std::vector<v1::LogEntry> entries, Done done) {
  size_t bytes = 0;
  bool others_write = false;
  absl::Status refused = CheckEntries(entries, &bytes);
  if (refused.ok()) {
    base::MutexLock lock(impl_->mutex);
    refused = impl_->health;
    if (refused.ok() && impl_->queued + entries.size() > kMaxQueued) {
      refused = absl::ResourceExhaustedError(
          absl::StrCat("the issuance log has ", impl_->queued, " entries waiting: try again"));
    }
    if (refused.ok()) {
      impl_->queued += entries.size();
      impl_->queue.push_back({std::move(entries), std::move(done), bytes});
      others_write = std::exchange(impl_->writing, true);
    }
  }
  if (!refused.ok()) {
    done(refused);
    return;
  }
  if (!others_write) impl_->WriteQueued();
}

LogPosition IssuanceLog::end() const {
  base::MutexLock lock(impl_->mutex);
  return impl_->durable;
}

uint64_t IssuanceLog::size() const {
  base::MutexLock lock(impl_->mutex);
  return impl_->durable.next_index;
}

std::string IssuanceLog::head() const {
  base::MutexLock lock(impl_->mutex);
  return impl_->durable.hash;
}

absl::Status IssuanceLog::health() const {
  base::MutexLock lock(impl_->mutex);
  return impl_->health;
}

absl::StatusOr<std::vector<v1::LogEntry>> IssuanceLog::Read(uint64_t from_index,
                                                            size_t most) const {
  most = std::min(most, kMaxRead);
  std::vector<v1::LogEntry> entries;
  while (entries.size() < most) {
    LogSegment segment;
    const uint64_t next = from_index + entries.size();
    {
      base::MutexLock lock(impl_->mutex);
      if (next >= impl_->durable.next_index) break;
      const auto after = std::upper_bound(
          impl_->segments.begin(), impl_->segments.end(), next,
          [](uint64_t index, const LogSegment& other) { return index < other.first_index; });
      segment = *std::prev(after);
    }
    ASSIGN_OR_RETURN(std::vector<v1::LogEntry> more,
                     ReadLogSegment(segment, next, most - entries.size()));
    if (more.empty()) {
      return absl::DataLossError(
          absl::StrCat("issuance log ", segment.path, ": entry ", next, " is gone"));
    }
    entries.insert(entries.end(), std::make_move_iterator(more.begin()),
                   std::make_move_iterator(more.end()));
  }
  return entries;
}

absl::StatusOr<v1::LogVerification> IssuanceLog::Verify() const {
  std::vector<LogSegment> segments;
  LogPosition expected;
  {
    base::MutexLock lock(impl_->mutex);
    segments = impl_->segments;
    expected = impl_->durable;
  }
  const absl::StatusOr<LogPosition> found = CheckLogSegments(segments);
  v1::LogVerification verification;
  verification.set_entries(expected.next_index);
  verification.set_head(expected.hash);
  if (!found.ok()) {
    verification.set_problem(std::string(found.status().message()));
  } else if (found->next_index != expected.next_index || found->hash != expected.hash) {
    verification.set_problem(absl::StrCat("the segments end before entry ", found->next_index,
                                          ", the log before entry ", expected.next_index));
  }
  verification.set_intact(verification.problem().empty());
  return verification;
}

}  // namespace linchpin::ca
