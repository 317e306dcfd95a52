// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The chain that a peer sent, as gRPC hands it over (PEM), in the form that Judge takes (DER).
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "trust/judge.h"

namespace linchpin::rpc {

// Appends the certificates of `pem` to `chain` without parsing them. UNAUTHENTICATED: no PEM, or so
// many that even counting them is refused.
absl::Status AppendSentChain(absl::string_view pem, trust::RawChain* chain);

}  // namespace linchpin::rpc
