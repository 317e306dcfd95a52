// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The issuance log at a start: has it all that the store vouches for, and what of it is valid.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/ca_core.h"
#include "ca/core/log_head.h"
#include "ca/log/issuance_log.h"
#include "ca/store/store.h"

namespace linchpin::ca {

// DATA_LOSS: not what the store vouches for. Not to be called where the store may still commit.
absl::Status CheckLog(const IssuanceLog& log, const state::v1::LogHeadRecord& head);

// At a start: DATA_LOSS, unless an operator goes on with the loss that `accepted` names, and the
// store knows it from then on; true: it has just been told.
absl::StatusOr<bool> HoldLog(Store& store, const IssuanceLog& log, const CaCore& core,
                             const Profile& profile, const std::string& accepted, absl::Time now);

// Of the whole log.
absl::StatusOr<Outstanding> OutstandingOf(const IssuanceLog& log, const CaCore& core,
                                          const Profile& profile, absl::Time now);

}  // namespace linchpin::ca
