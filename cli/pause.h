// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Waiting between two looks at something that cannot call back.
#pragma once

#include "absl/time/time.h"

namespace linchpin::cli {

void Pause(absl::Duration pause);
// Grows with each attempt (0, 1, …) from 0.2 s to 5 s.
void PauseAfter(int attempt);

}  // namespace linchpin::cli
