// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Who may talk to whom: default deny, each end enforces its own half.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/spiffe_id.h"

namespace linchpin::trust {

enum class Direction { kInbound, kOutbound };  // of the connection, seen from the one who judges

enum class PolicyAnswer { kAllowed, kAudited, kDenied };  // kAudited: denied, but only reported

// One identity's half of the policy. Immutable.
class PeerPolicy {
 public:
  PeerPolicy() = default;
  // Takes from `rules` those that `self` enforces: outbound where it is `from`, inbound where it is
  // `to`. INVALID_ARGUMENT for a rule with a malformed or reserved ID.
  static absl::StatusOr<PeerPolicy> ForIdentity(const SpiffeId& self,
                                                const std::vector<v1::PeerRule>& rules);

  PolicyAnswer Ask(Direction direction, const SpiffeId& peer) const;
  // Sorted by ID; audited peers included.
  std::vector<SpiffeId> Peers(Direction direction) const;
  std::vector<v1::PeerRule> rules(const SpiffeId& self) const;  // sorted

 private:
  std::map<SpiffeId, v1::PeerRule::Mode> inbound_;
  std::map<SpiffeId, v1::PeerRule::Mode> outbound_;
};

}  // namespace linchpin::trust
