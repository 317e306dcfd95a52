// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How long to wait before the next try: pure over the attempt's number and a random fraction.
#pragma once

#include "absl/time/time.h"

namespace linchpin::base {

// Doubles from `first` with each failed attempt (0, 1, …), never over `most`, times 0.5 … 1.0 by
// `fraction` in [0, 1).
absl::Duration Backoff(int attempt, double fraction, absl::Duration first, absl::Duration most);

}  // namespace linchpin::base
