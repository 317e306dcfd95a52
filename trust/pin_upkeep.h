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
  absl::Time agreed;       // the earlier of the local clock and what is known of the CA's
  absl::Time agreed_once;  // the same, by the latest that both came to: the CA may go back on it
  absl::Time latest;       // the latest that the local clock shows, or that both came to
  // When the relax that is held began, by the local clock of then, and the time that has passed
  // since: it ends that relax and nothing else, since that clock may have been ahead.
  absl::Time since_relax = absl::InfinitePast();
};

// `held` with its pins as they are at these times: expired once both clocks say so, no longer
// relaxed at the latest of them. What fails closed stays so until a newer set comes: the CA that
// withholds it must not undo it. None if nothing changes.
absl::StatusOr<std::optional<TrustHeld>> PinsAt(const TrustHeld& held, const PinTimes& times);

// When PinsAt() may change something, seen from these times; the infinite future if never.
absl::Duration UntilPinsChange(const TrustHeld& held, const PinTimes& times);

// What came by other ways than a trust state of the judged CA, each for itself: files, or what the
// CA said before authentication. Where two say the same thing the earlier goes first.
using Carriers = std::vector<v1::PinDocuments>;

struct TakenDocuments {
  std::optional<TrustHeld> held;    // with what is new; none: nothing is
  std::vector<std::string> faults;  // of what is not taken: sentences
};

// Takes of each carrier what holds by itself: the sets that follow, the newest freshness statement,
// of the relax documents that were not used the one that lasts longest, if none runs; the one of
// the trust state that is held, which may have come while a clock was ahead, is one more. What is
// wrong hides nothing that is right. `chain` is what the CA showed before authentication: of newer
// sets its certificates become candidates for anchors and issuers, and at any time the root whose
// key is pinned but whose certificate is not held; the pins decide. Under set 0 nothing is taken:
// only a connection that passes it installs signers. The codes of AcceptTrust.
absl::StatusOr<TakenDocuments> TakeDocuments(const TrustHeld& held, const Carriers& carriers,
                                             const std::vector<std::string>& chain,
                                             const AcceptOptions& options);

// The sets of all carriers that follow `cursor`, one a version. `faults`, if it is not null, says
// what is wrong with the others.
std::vector<v1::SignedPinSet> SetsThatFollow(PinSetCursor cursor, const Carriers& carriers,
                                             absl::Time now, std::vector<std::string>* faults);

// Of the signed set that is held, and of a relax document of the CA that only the local clock is
// past; none under set 0.
std::vector<PinConcern> ConcernsOf(const TrustHeld& held, const PinTimes& times);
absl::Time NextConcernOf(const TrustHeld& held, absl::Time now);

}  // namespace linchpin::trust
