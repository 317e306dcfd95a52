// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/log/issued_since.h"

#include <vector>

#include "base/status_macros.h"

namespace linchpin::ca {
namespace {

constexpr size_t kBatch = 4096;
constexpr absl::Duration kClockSetBack = absl::Hours(1);

// The first entry that may be of `since` or later: entries are in the order of issue.
absl::StatusOr<uint64_t> FirstSince(const IssuanceLog& log, absl::Time since, uint64_t end) {
  uint64_t begin = 0;
  while (begin < end) {
    const uint64_t middle = begin + (end - begin) / 2;
    ASSIGN_OR_RETURN(const std::vector<v1::LogEntry> entry, log.Read(middle, 1));
    if (entry.empty()) break;
    if (absl::FromUnixSeconds(entry.front().issued_at()) < since) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

}  // namespace

absl::Status ForEachIssuedSince(const IssuanceLog& log, absl::Time since,
                                const std::function<void(const v1::LogEntry&)>& on_entry) {
  ASSIGN_OR_RETURN(uint64_t next, FirstSince(log, since - kClockSetBack, log.size()));
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<v1::LogEntry> entries, log.Read(next, kBatch));
    if (entries.empty()) return absl::OkStatus();
    for (const v1::LogEntry& entry : entries) on_entry(entry);
    next += entries.size();
  }
}

}  // namespace linchpin::ca
