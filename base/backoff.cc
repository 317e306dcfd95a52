// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/backoff.h"

#include <algorithm>

namespace linchpin::base {

absl::Duration Backoff(int attempt, double fraction, absl::Duration first, absl::Duration most) {
  absl::Duration delay = std::min(first, most);
  for (int i = 0; i < attempt && delay < most; ++i) delay = std::min(delay * 2, most);
  return delay * (0.5 + 0.5 * fraction);
}

}  // namespace linchpin::base
