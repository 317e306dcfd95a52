// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Who was allowed, so that not every call of a connection is judged from the start. Only allowing
// verdicts are kept: a refusal may be over at any instant.
#pragma once

#include <list>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace linchpin::rpc {

// Any thread. The least recently used entry goes first.
class VerdictMemo {
 public:
  explicit VerdictMemo(size_t most_entries = 16384) : most_entries_(most_entries) {}

  // `key` stands for chain and trust; the verdict holds in [judged_at, until).
  void Allow(const std::string& key, absl::Time judged_at, absl::Time until);
  bool IsAllowed(const std::string& key, absl::Time now);
  size_t size() const;

 private:
  struct Entry {
    std::string key;
    absl::Time judged_at;
    absl::Time until;
  };
  const size_t most_entries_;
  mutable base::Mutex mutex_;
  std::list<Entry> entries_;  // most recently used first
  std::map<std::string, std::list<Entry>::iterator> by_key_;
};

}  // namespace linchpin::rpc
