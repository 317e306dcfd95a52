// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/known_time.h"

namespace linchpin::agent {

void KnownTime::Restore(const state::v1::KnownTime& sealed, absl::Time relax_began) {
  const absl::Duration then = absl::Milliseconds(sealed.uptime_ms());
  rebooted_ = uptime_ < then;
  const absl::Duration passed = rebooted_ ? uptime_ : uptime_ - then;
  if (sealed.ca_ms() > 0) ca_ = absl::FromUnixMillis(sealed.ca_ms()) + passed;
  if (sealed.agreed_ms() > 0) agreed_ = absl::FromUnixMillis(sealed.agreed_ms()) + passed;
  Agree();
  relax_began_ = relax_began;
  if (sealed.since_relax_ms() > 0) {
    since_relax_ = absl::FromUnixMillis(sealed.since_relax_ms()) + passed;
  }
}

state::v1::KnownTime KnownTime::Seal() const {
  state::v1::KnownTime sealed;
  if (ca_ != absl::InfinitePast()) sealed.set_ca_ms(absl::ToUnixMillis(ca_));
  if (agreed_ != absl::InfinitePast()) sealed.set_agreed_ms(absl::ToUnixMillis(agreed_));
  if (since_relax_ != absl::InfinitePast()) {
    sealed.set_since_relax_ms(absl::ToUnixMillis(since_relax_));
  }
  sealed.set_uptime_ms(absl::ToInt64Milliseconds(uptime_));
  return sealed;
}

void KnownTime::Pass(const Instant& at) {
  const absl::Duration passed = std::max(at.uptime - uptime_, absl::ZeroDuration());
  uptime_ = at.uptime;
  ca_ += passed;
  agreed_ += passed;
  since_relax_ += passed;
  now_ = at.now;
  Agree();
}

void KnownTime::Heard(absl::Time ca_time) {
  ca_ = ca_time;
  Agree();
}

void KnownTime::Relaxing(absl::Time relax_began) {
  if (relax_began == relax_began_) return;
  relax_began_ = relax_began;
  since_relax_ = relax_began;
}

}  // namespace linchpin::agent
