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

// What both the local clock and the CA came to is remembered: neither one that is set back nor a CA
// that repeats an old time puts off what only comes with time. What one of them alone said is not:
// a clock that jumped ahead, or a CA that named a year to come, has done nothing once it is right.
class KnownTime {
 public:
  // After Pass. Of an earlier process, perhaps before the machine's last start: at least the time
  // that this one has been up has passed since. `relax_began` was sealed with it.
  void Restore(const state::v1::KnownTime& sealed, absl::Time relax_began);
  // For certain: the machine, since what was restored was sealed.
  bool rebooted() const { return rebooted_; }
  state::v1::KnownTime Seal() const;

  void Pass(const Instant& at);           // at each step
  void Heard(absl::Time ca_time);         // now, after Pass
  void Relaxing(absl::Time relax_began);  // again and again while it is known

  // A CA that never said the time agrees with no other clock.
  trust::PinTimes times(absl::Time now) const {
    return {.agreed = std::min(now, ca_),
            .agreed_once = std::min(now, agreed_),
            .latest = std::max(now, agreed_),
            .since_relax = since_relax_};
  }

 private:
  void Agree() { agreed_ = std::max(agreed_, std::min(now_, ca_)); }

  absl::Time now_ = absl::InfinitePast();     // the local clock, at the last step
  absl::Time ca_ = absl::InfinitePast();      // at least so late by the CA's last word
  absl::Time agreed_ = absl::InfinitePast();  // at least so late by both, ever
  absl::Time relax_began_ = absl::InfinitePast();
  absl::Time since_relax_ = absl::InfinitePast();  // its beginning and the time that passed since
  absl::Duration uptime_;
  bool rebooted_ = false;
};

}  // namespace linchpin::agent
