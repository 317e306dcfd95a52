// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What is served of a registered identity, and what of it depends on trust and policy.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "agent/core/certified.h"
#include "sync/projection.h"
#include "trust/peer_policy.h"
#include "trust/spiffe_id.h"
#include "trust/trust_acceptance.h"

namespace linchpin::agent {

using TrustPtr = std::shared_ptr<const trust::TrustHeld>;

struct Offer {
  CertifiedPtr certified;
  TrustPtr trust;
  std::shared_ptr<const sync::Projection> projection;
  std::optional<trust::SpiffeId> id;  // none: the registration cannot be served
  trust::PeerPolicy policy;
  std::string context_digest;
};

}  // namespace linchpin::agent
