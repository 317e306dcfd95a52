// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/change_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/change_log.h"

namespace linchpin::ca {
namespace {

constexpr size_t kBatch = 256;
constexpr uint64_t kMostDropped = 1024;

}  // namespace

absl::StatusOr<std::vector<v1::Change>> ReadChanges(Store& store, uint64_t from, size_t most) {
  std::vector<v1::Change> changes;
  for (uint64_t index = from; changes.size() < most; ++index) {
    const absl::StatusOr<Record> record = store.Get(ChangeKey(index));
    if (absl::IsNotFound(record.status())) break;
    RETURN_IF_ERROR(record.status());
    ASSIGN_OR_RETURN(v1::Change change, ReadChange(*record));
    changes.push_back(std::move(change));
  }
  return changes;
}

absl::Status VerifyChanges(Store& store, const v1::ChangeSpan& span) {
  const uint64_t kept = span.next_index() - span.first_index();
  if (span.first_index() > 1 && kept + 1 < kMaxChanges) {
    return absl::DataLossError(absl::StrCat("the changes before ", span.first_index(),
                                            " are missing, and only ", kept,
                                            " are kept: some were "
                                            "taken away"));
  }
  ChangeChecker checker;
  uint64_t next = span.first_index();
  // Where as many are kept as may be, some may have been dropped since `span` was told.
  for (uint64_t i = 0; kept + 1 >= kMaxChanges && i < kMostDropped; ++i, ++next) {
    const absl::StatusOr<Record> record = store.Get(ChangeKey(next));
    if (!absl::IsNotFound(record.status())) break;
  }
  while (next < span.next_index()) {
    const size_t most = std::min<uint64_t>(kBatch, span.next_index() - next);
    ASSIGN_OR_RETURN(const std::vector<v1::Change> changes, ReadChanges(store, next, most));
    if (changes.empty()) {
      return absl::DataLossError(absl::StrCat("the change ", next, " is missing"));
    }
    for (const v1::Change& change : changes) RETURN_IF_ERROR(checker.Check(change));
    next = changes.back().index() + 1;
  }
  if (checker.checked() > 0 && checker.head() != span.head()) {
    return absl::DataLossError("the last change is not the one that this CA recorded last");
  }
  return absl::OkStatus();
}

}  // namespace linchpin::ca
