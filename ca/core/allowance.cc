// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/allowance.h"

#include <algorithm>

namespace linchpin::ca {

absl::Duration Allowance::Take(const std::string& who, absl::Time now) {
  absl::Time& until = spent_until_[who];
  until = std::clamp(until, now, now + all_);
  const absl::Duration wait = until + each_ - (now + all_);
  if (wait > absl::ZeroDuration()) return wait;
  until += each_;
  return absl::ZeroDuration();
}

void Allowance::Tidy(absl::Time now) {
  std::erase_if(spent_until_, [now](const auto& entry) { return entry.second <= now; });
}

}  // namespace linchpin::ca
