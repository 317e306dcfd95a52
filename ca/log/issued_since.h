// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What the issuance log has of the last while.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "ca/log/issuance_log.h"

namespace linchpin::ca {

// Every entry from just before the first that was issued at `since` or later, oldest first, whole
// batches read at a time. A clock that was set back by more than an hour in the meantime can hide
// entries. DATA_LOSS.
absl::Status ForEachIssuedSince(const IssuanceLog& log, absl::Time since,
                                const std::function<void(const v1::LogEntry&)>& on_entry);

}  // namespace linchpin::ca
