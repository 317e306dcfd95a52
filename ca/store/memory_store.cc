// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/store/memory_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/store/batch.h"

namespace linchpin::ca {

absl::StatusOr<Revision> MemoryStore::Commit(const std::vector<Write>& batch) {
  RETURN_IF_ERROR(CheckBatch(batch));
  Revision revision = 0;
  {
    base::MutexLock lock(mutex_);
    for (const Write& write : batch) {
      if (!write.expected.has_value()) continue;
      const auto found = entries_.find(write.key);
      const bool exists = found != entries_.end() && found->second.value.has_value();
      const Revision at = exists ? found->second.revision : 0;
      if (at != *write.expected) return ExpectationFailed(write, at);
    }
    revision = Apply(batch);
  }
  base::MutexLock lock(watch_mutex_);
  if (on_change_) on_change_();
  return revision;
}

Revision MemoryStore::Apply(const std::vector<Write>& batch) {
  ++head_;
  for (const Write& write : batch) {
    Entry& entry = entries_[write.key];
    if (!write.value.has_value() && !entry.value.has_value()) {
      if (entry.revision == 0) entries_.erase(write.key);
      continue;  // nothing to delete, so nothing changed
    }
    if (entry.revision != 0) {
      std::vector<std::string>& keys = changes_[entry.revision];
      keys.erase(std::find(keys.begin(), keys.end(), write.key));
      if (keys.empty()) changes_.erase(entry.revision);
    }
    entry = {write.value, head_};
    changes_[head_].push_back(write.key);
  }
  return head_;
}

absl::StatusOr<Record> MemoryStore::Get(absl::string_view key) {
  base::MutexLock lock(mutex_);
  const auto found = entries_.find(std::string(key));
  if (found == entries_.end() || !found->second.value.has_value()) {
    return absl::NotFoundError(absl::StrCat("no record \"", absl::CHexEscape(key), "\""));
  }
  return Record{found->first, *found->second.value, found->second.revision};
}

absl::StatusOr<Store::Listing> MemoryStore::List(absl::string_view prefix) {
  base::MutexLock lock(mutex_);
  Listing listing;
  listing.at = head_;
  for (auto it = entries_.lower_bound(std::string(prefix));
       it != entries_.end() && absl::StartsWith(it->first, prefix); ++it) {
    if (!it->second.value.has_value()) continue;
    listing.records.push_back({it->first, *it->second.value, it->second.revision});
  }
  return listing;
}

absl::StatusOr<std::vector<Store::Changed>> MemoryStore::ChangesAfter(Revision after, size_t most) {
  base::MutexLock lock(mutex_);
  std::vector<Changed> changed;
  for (auto it = changes_.upper_bound(after); it != changes_.end(); ++it) {
    std::vector<std::string> keys = it->second;
    if (!changed.empty() && changed.size() + keys.size() > most) break;
    std::sort(keys.begin(), keys.end());
    for (std::string& key : keys) {
      const bool deleted = !entries_.find(key)->second.value.has_value();
      changed.push_back({std::move(key), it->first, deleted});
    }
  }
  return changed;
}

void MemoryStore::Watch(std::function<void()> on_change) {
  base::MutexLock lock(watch_mutex_);
  on_change_ = std::move(on_change);
}

}  // namespace linchpin::ca
