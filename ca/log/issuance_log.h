// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The issuance log: every certificate is durably here before it leaves. Append-only segments of
// framed, checksummed records in one hash chain; docs/formats.md has the bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "ca/log/log_format.h"
#include "linchpin/ca/v1/admin.pb.h"

namespace linchpin::ca {

class IssuanceLog {
 public:
  static constexpr size_t kMaxRecordBytes = 64 * 1024;
  static constexpr size_t kMaxQueued = 16384;
  static constexpr size_t kSegmentBytes = 64 * 1024 * 1024;

  // Opens or makes the log in `directory`. A torn tail (an incomplete last record, or one whose
  // checksum is wrong with nothing after it) is cut off, kept in a file beside it that ends in
  // .torn, and reported in recovered(); damage before the tail is DATA_LOSS and names segment and
  // offset.
  static absl::StatusOr<std::unique_ptr<IssuanceLog>> Open(const std::string& directory);
  ~IssuanceLog();  // no Append() may be under way

  // Any thread. Index and hash are set here; `done` is called once the entries are synced to disk,
  // all together with whatever else waits (group commit). The log has no thread of its own: who
  // finds nobody writing writes, before this returns, its own and all that others bring meanwhile;
  // their `done` is called there, too, and must not block. A failed write or sync ends the log:
  // this and every later call gets the error, nothing is retried on the same file.
  // RESOURCE_EXHAUSTED at once if kMaxQueued wait.
  using Done = absl::AnyInvocable<void(absl::Status)>;
  void Append(std::vector<v1::LogEntry> entries, Done done);

  LogPosition end() const;                                     // of the durable entries
  uint64_t size() const;                                       // their number
  std::string head() const;                                    // hash of the chain
  const std::string& recovered() const { return recovered_; }  // empty: the log was whole
  absl::Status health() const;                                 // the error that ended it

  // Reads entries from `from_index`, at most `most`. Any thread.
  absl::StatusOr<std::vector<v1::LogEntry>> Read(uint64_t from_index, size_t most) const;
  // Reads all from disk and checks every frame and hash.
  absl::StatusOr<v1::LogVerification> Verify() const;

 private:
  struct Impl;
  explicit IssuanceLog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
  std::string recovered_;
};

}  // namespace linchpin::ca
