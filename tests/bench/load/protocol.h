// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How the load program talks with whoever measures: it says {"ready":true} when the next round is
// prepared, begins it at a line on stdin, and answers with one line of JSON. So the measurer reads
// the CPU time of the programs under load just before and just after. End of input: no more rounds.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace linchpin::bench {

void Say(const nlohmann::json& line);
// Says that all is ready and waits; false at the end of input.
bool NextRound();

// Monotonic.
absl::Duration Uptime();
double Microseconds(absl::Duration duration);

// {"count", "p50", "p99", "max"} in microseconds; FAILED_PRECONDITION without samples.
absl::StatusOr<nlohmann::json> Summary(std::vector<absl::Duration> samples);

}  // namespace linchpin::bench
