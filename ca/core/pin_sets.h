// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Which signed pin sets this CA carries to its nodes. Pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/authorities.h"
#include "linchpin/state/v1/ca_state.pb.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/spiffe_id.h"

namespace linchpin::ca {

inline constexpr int kMaxPinSets = 64;  // kept, so that nodes can follow changes of signers

// `held` with `set` as its newest, which must follow from the last by its signers and its version.
// A set between two of the same signers is dropped: nobody needs it to follow them. The codes of
// trust::FollowPinSets; FAILED_PRECONDITION: already expired; RESOURCE_EXHAUSTED.
absl::StatusOr<state::v1::TrustRecord> WithPinSet(const trust::TrustDomain& trust_domain,
                                                  state::v1::TrustRecord held,
                                                  const trust::v1::SignedPinSet& set,
                                                  absl::Time now);

// `held` with `document` played, which is of the set in force. The codes of trust::VerifyRelax;
// FAILED_PRECONDITION: too late, played before, or no set is there; RESOURCE_EXHAUSTED: too often.
absl::StatusOr<state::v1::TrustRecord> WithRelax(const trust::TrustDomain& trust_domain,
                                                 state::v1::TrustRecord held,
                                                 const trust::v1::SignedRelax& document,
                                                 absl::Time now);

// `held` with `statement`. The codes of trust::VerifyFreshness; FAILED_PRECONDITION: expired, older
// than the one that is held, or of another version than the set in force.
absl::StatusOr<state::v1::TrustRecord> WithFreshness(state::v1::TrustRecord held,
                                                     const trust::v1::SignedFreshness& statement,
                                                     absl::Time now);

uint64_t PublishedVersion(const state::v1::TrustRecord& held);  // 0: none

// What an operator should do something about, of the set in force: sentences.
std::vector<std::string> PinWarnings(const state::v1::TrustRecord& held, absl::Time now);

// FAILED_PRECONDITION if nodes that enforce the set would refuse this CA, because a root or an
// issuer in use, or about to be, is not pinned, or if an issuer in use is named as a backup.
// Authorities that are `leaving` (record keys) need not be pinned.
absl::Status CheckCovers(const trust::v1::SignedPinSet& set, const Authorities& authorities,
                         const std::set<std::string>& leaving, absl::Time now);

}  // namespace linchpin::ca
