// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/verdict_memo.h"

namespace linchpin::rpc {

void VerdictMemo::Allow(const std::string& key, absl::Time judged_at, absl::Time until) {
  base::MutexLock lock(mutex_);
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) {
    entries_.erase(found->second);
    by_key_.erase(found);
  }
  while (entries_.size() >= most_entries_) {
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
  entries_.push_front({key, judged_at, until});
  by_key_[key] = entries_.begin();
}

bool VerdictMemo::IsAllowed(const std::string& key, absl::Time now) {
  base::MutexLock lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return false;
  const auto entry = found->second;
  if (now < entry->judged_at || now >= entry->until) {
    entries_.erase(entry);
    by_key_.erase(found);
    return false;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  return true;
}

size_t VerdictMemo::size() const {
  base::MutexLock lock(mutex_);
  return entries_.size();
}

}  // namespace linchpin::rpc
