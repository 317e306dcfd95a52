// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/bench/load/protocol.h"

#include <algorithm>
#include <iostream>

#include "base/clock.h"

namespace linchpin::bench {

void Say(const nlohmann::json& line) { std::cout << line.dump() << std::endl; }

bool NextRound() {
  Say({{"ready", true}});
  std::string line;
  return static_cast<bool>(std::getline(std::cin, line));
}

absl::Duration Uptime() { return base::SystemClock().Uptime(); }

double Microseconds(absl::Duration duration) { return absl::ToDoubleMicroseconds(duration); }

absl::StatusOr<nlohmann::json> Summary(std::vector<absl::Duration> samples) {
  if (samples.empty()) return absl::FailedPreconditionError("nothing was measured");
  std::sort(samples.begin(), samples.end());
  const auto at = [&](size_t percent) {
    return Microseconds(samples[std::min(samples.size() - 1, samples.size() * percent / 100)]);
  };
  return nlohmann::json{{"count", samples.size()},
                        {"p50", at(50)},
                        {"p99", at(99)},
                        {"max", Microseconds(samples.back())}};
}

}  // namespace linchpin::bench
