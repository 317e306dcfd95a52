// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What every store checks of a batch before it touches anything.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ca/store/store.h"

namespace linchpin::ca {

// INVALID_ARGUMENT: empty, over kMaxBatch writes, a key that is empty, too long or there twice, a
// value over kMaxValueBytes. Names the key.
absl::Status CheckBatch(const std::vector<Write>& batch);

// ABORTED for `write`, whose key now has revision `found` (0: absent).
absl::Status ExpectationFailed(const Write& write, Revision found);

// The least key above all that begin with `prefix`; empty: there is none.
std::string PrefixEnd(absl::string_view prefix);

}  // namespace linchpin::ca
