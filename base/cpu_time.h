// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a thread has cost; for measurements only.
#pragma once

#include <time.h>

#include "absl/time/time.h"

namespace linchpin::base {

// Of the calling thread: what other threads and programs do meanwhile is not in it.
inline absl::Duration ThreadCpuTime() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return absl::DurationFromTimespec(now);
}

}  // namespace linchpin::base
