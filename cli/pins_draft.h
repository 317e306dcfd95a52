// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The next pin set, made from what the CA has.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/pins_document.h"
#include "linchpin/ca/v1/admin.pb.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/pin_set_draft.h"

namespace linchpin::cli {

struct DraftRequest {
  std::optional<trust::v1::PinSet> before;               // in force
  std::optional<trust::v1::SignedPinSet> signed_before;  // shown beside the draft
  trust::DraftChanges changes;
  // Of backup issuers, by pin: that their keys are held.
  std::map<std::string, trust::v1::PossessionProof> proofs;
};

// The pins (bytes) of the issuers that need a proof.
std::vector<std::string> BackupPins(const ca::v1::Authorities& authorities);

// Pins all roots and issuers that are neither retired nor being dropped. INVALID_ARGUMENT as
// trust::DraftPinSet.
absl::StatusOr<PinSetDocument> DraftPinSet(const DraftRequest& request,
                                           const ca::v1::Authorities& authorities, absl::Time now);

}  // namespace linchpin::cli
