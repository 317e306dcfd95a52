// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The next pin set, made from what the CA has.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/pins_document.h"
#include "linchpin/ca/v1/admin.pb.h"
#include "linchpin/trust/v1/trust.pb.h"

namespace linchpin::cli {

struct DraftRequest {
  trust::v1::Signers signers;
  uint64_t version = 1;
  trust::v1::PinSet::Mode mode = trust::v1::PinSet::ENFORCE;
  trust::v1::PinSet::OnExpiry on_expiry = trust::v1::PinSet::KEEP;
  absl::Duration life = absl::Hours(24 * 365);
  bool any_under_anchor = false;
  bool urgent = false;
  // Of backup issuers, by pin: that their keys are held.
  std::map<std::string, trust::v1::PossessionProof> proofs;
};

// The pins (bytes) of the issuers that need a proof.
std::vector<std::string> BackupPins(const ca::v1::Authorities& authorities);

// Pins all roots and issuers that are not retired. INVALID_ARGUMENT as trust::ParsePinSet.
absl::StatusOr<PinSetDocument> DraftPinSet(const DraftRequest& request,
                                           const ca::v1::Authorities& authorities, absl::Time now);

}  // namespace linchpin::cli
