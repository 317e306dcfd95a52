// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The changes that the store keeps (ca/core/change_log.h), read apart from the core.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ca/store/store.h"
#include "linchpin/ca/v1/operator.pb.h"

namespace linchpin::ca {

// From `from` on, at most `most`; ends where there are no more. DATA_LOSS: one was edited.
absl::StatusOr<std::vector<v1::Change>> ReadChanges(Store& store, uint64_t from, size_t most);

// Checks every change of `span`, which is what the core says of them. DATA_LOSS says what is wrong.
absl::Status VerifyChanges(Store& store, const v1::ChangeSpan& span);

}  // namespace linchpin::ca
