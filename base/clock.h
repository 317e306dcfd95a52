// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The two clocks of the world. Everything that decides takes an absl::Time; only adaptors hold one.
#pragma once

#include "absl/time/time.h"

namespace linchpin::base {

// Safe for concurrent use.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;         // wall clock; may jump
  virtual absl::Duration Uptime() const = 0;  // monotonic since some fixed instant; never jumps
};

// The machine's clocks; lives for ever.
const Clock& SystemClock();

}  // namespace linchpin::base
