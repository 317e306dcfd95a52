// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Tries of one kind of work that is done one at a time.
#pragma once

#include "absl/time/time.h"

namespace linchpin::agent {

struct Attempts {
  bool under_way = false;
  int failures = 0;
  absl::Time at = absl::InfinitePast();  // the next try, not before
  bool Ready(absl::Time now) const { return !under_way && now >= at; }
};

}  // namespace linchpin::agent
