// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A status that says when to try again, as google.rpc.RetryInfo does: it goes over gRPC in the
// status details, where other clients know it too.
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace linchpin::base {

inline constexpr char kRetryInfoType[] = "type.googleapis.com/google.rpc.RetryInfo";

// `delay` is not negative; no more than a day is said.
absl::Status WithRetryAfter(absl::Status status, absl::Duration delay);
// Nothing if the status does not say, or not in a way that can be read.
std::optional<absl::Duration> RetryAfter(const absl::Status& status);

}  // namespace linchpin::base
