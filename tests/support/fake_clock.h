// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A clock that moves only when a test moves it.
#pragma once

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace linchpin::test {

// Safe for concurrent use.
class FakeClock final : public base::Clock {
 public:
  explicit FakeClock(absl::Time now = absl::FromUnixSeconds(1'800'000'000)) : now_(now) {}

  absl::Time Now() const override {
    base::MutexLock lock(mutex_);
    return now_;
  }
  absl::Duration Uptime() const override {
    base::MutexLock lock(mutex_);
    return uptime_;
  }

  // Time passes: both clocks move.
  void Advance(absl::Duration by) {
    base::MutexLock lock(mutex_);
    now_ += by;
    uptime_ += by;
  }
  // Somebody sets the wall clock: uptime stays.
  void Jump(absl::Time now) {
    base::MutexLock lock(mutex_);
    now_ = now;
  }

 private:
  mutable base::Mutex mutex_;
  absl::Time now_;
  absl::Duration uptime_ = absl::Seconds(1000);
};

}  // namespace linchpin::test
