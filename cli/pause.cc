// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/pause.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/run_loop.h"

namespace linchpin::cli {

void Pause(absl::Duration pause) {
  base::RunLoop loop(base::SystemClock());
  loop.PostAfter(pause, [&loop] { loop.Stop(); });
  loop.Run();
}

void PauseAfter(int attempt) {
  Pause(base::Backoff(attempt, base::RandomFraction(base::SystemRandom()), absl::Milliseconds(200),
                      absl::Seconds(5)));
}

}  // namespace linchpin::cli
