// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What time it is by more than the local clock, which may jump. Pure.
#pragma once

#include <algorithm>

#include "absl/time/time.h"
#include "linchpin/state/v1/agent_state.pb.h"
#include "trust/pin_upkeep.h"

namespace linchpin::agent {

// When a step happens: by the local clock, which may jump, and since the machine's start, which
// passes even while it sleeps.
struct Instant {
  Instant(absl::Time wall, absl::Duration up) : now(wall), uptime(up) {}
  // A world whose clock never jumps.
  Instant(absl::Time wall) : now(wall), uptime(wall - absl::UnixEpoch()) {}  // NOLINT: implicit
  absl::Time now;
  absl::Duration uptime;
};

// A local clock that jumped ahead is not remembered; one that was set back lengthens no relax. What
// a CA said is: one that repeats an old time must not put off what only comes with time.
class KnownTime {
 public:
  // After Pass. Of an earlier process, perhaps before the machine's last start: at least the time
  // that this one has been up has passed since. `relax_began` was sealed with it.
  void Restore(const state::v1::KnownTime& sealed, absl::Time relax_began);
  state::v1::KnownTime Seal() const;

  void Pass(const Instant& at);           // at each step
  void Heard(absl::Time ca_time);         // now, after Pass
  void Relaxing(absl::Time relax_began);  // again and again while it is known

  // A CA that never said the time agrees with no other clock.
  trust::PinTimes times(absl::Time now) const {
    return {.agreed = std::min(now, ca_),
            .agreed_once = std::min(now, ca_latest_),
            .latest = std::max({now, ca_, since_relax_})};
  }

 private:
  absl::Time ca_ = absl::InfinitePast();         // at least so late by the CA's last word
  absl::Time ca_latest_ = absl::InfinitePast();  // and by the latest that it ever said
  absl::Time relax_began_ = absl::InfinitePast();
  absl::Time since_relax_ = absl::InfinitePast();  // its beginning and the time that passed since
  absl::Duration uptime_;
};

}  // namespace linchpin::agent
