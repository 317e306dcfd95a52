// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// When calls' deadlines pass. One thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/time/time.h"
#include "rpc/call_mailbox.h"

namespace linchpin::rpc {

class Reminders {
 public:
  void Add(CallKey key, absl::Duration at) {
    if (of_call_.emplace(key, at).second) due_.emplace(at, key);
  }
  void Remove(CallKey key) {
    const auto found = of_call_.find(key);
    if (found == of_call_.end()) return;
    due_.erase({found->second, key});
    of_call_.erase(found);
  }
  absl::Duration Next() const {
    return due_.empty() ? absl::InfiniteDuration() : due_.begin()->first;
  }
  // One that is due; it is removed.
  std::optional<CallKey> TakeDue(absl::Duration now) {
    if (Next() > now) return std::nullopt;
    const CallKey key = due_.begin()->second;
    Remove(key);
    return key;
  }

 private:
  std::map<CallKey, absl::Duration> of_call_;
  std::set<std::pair<absl::Duration, CallKey>> due_;
};

}  // namespace linchpin::rpc
