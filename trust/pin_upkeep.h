// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What time and other carriers than the CA's trust states change in the trust that is held. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/pin_concerns.h"
#include "trust/trust_acceptance.h"

namespace linchpin::trust {

// What it is certain that time has come to.
struct PinTimes {
  absl::Time agreed;  // the earlier of the local clock and what is known of the CA's
  absl::Time latest;  // the latest that any clock shows
};

// `held` with its pins as they are at these times: expired once both clocks say so, no longer
// relaxed once any clock says so. None if nothing changes.
absl::StatusOr<std::optional<TrustHeld>> PinsAt(const TrustHeld& held, const PinTimes& times);

// When PinsAt() may change something, seen from these times; the infinite future if never.
absl::Duration UntilPinsChange(const TrustHeld& held, const PinTimes& times);

// Takes sets and documents that came by another way than a trust state of the judged CA: from a
// file, or before authentication, where `chain` is what the CA showed (its certificates become
// candidates for anchors and issuers; the pins decide). Under set 0 nothing is taken: only a
// connection that passes it installs signers. None if there is nothing new. The codes of
// AcceptTrust.
absl::StatusOr<std::optional<TrustHeld>> TakeDocuments(const TrustHeld& held,
                                                       const v1::PinDocuments& documents,
                                                       const std::vector<std::string>& chain,
                                                       const AcceptOptions& options);

// Both, in the order of their versions; of two of one version that of `first`.
v1::PinDocuments MergeDocuments(const v1::PinDocuments& first, const v1::PinDocuments& second);

// Of the signed set that is held; none under set 0.
std::vector<PinConcern> ConcernsOf(const TrustHeld& held, absl::Time now);
absl::Time NextConcernOf(const TrustHeld& held, absl::Time now);

}  // namespace linchpin::trust
