// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/clock.h"

#include <time.h>

#include "absl/time/clock.h"

namespace linchpin::base {
namespace {

class MachineClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }

  // Counts on while the machine sleeps, as certificates do.
  absl::Duration Uptime() const override {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return absl::DurationFromTimespec(now);
  }
};

}  // namespace

const Clock& SystemClock() {
  static const MachineClock* const clock = new MachineClock;
  return *clock;
}

}  // namespace linchpin::base
