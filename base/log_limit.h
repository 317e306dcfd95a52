// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// For lines that somebody else can cause: so many a second, the rest is counted.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace linchpin::base {

// Any thread.
class LogLimit {
 public:
  explicit LogLimit(uint64_t lines_a_second = 10) : most_(lines_a_second) {}

  // Nothing: say nothing. Else how many lines went unsaid before this one.
  std::optional<uint64_t> Take(absl::Duration uptime) {
    MutexLock lock(mutex_);
    if (uptime - second_ >= absl::Seconds(1)) {
      second_ = uptime;
      said_ = 0;
    }
    if (said_ >= most_) {
      ++unsaid_;
      return std::nullopt;
    }
    ++said_;
    const uint64_t unsaid = unsaid_;
    unsaid_ = 0;
    return unsaid;
  }

 private:
  const uint64_t most_;
  Mutex mutex_;
  absl::Duration second_ = -absl::InfiniteDuration();
  uint64_t said_ = 0;
  uint64_t unsaid_ = 0;
};

}  // namespace linchpin::base
