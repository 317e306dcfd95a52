// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// absl::Status and grpc::Status: the codes are the same numbers, the message goes along.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace linchpin::rpc {

// The message is cut to 4 KiB and control characters are replaced. Of payloads,
// base::RetryAfter()'s goes along, as a status detail that other clients know.
// With at most 1 KiB of message, for statuses that are kept for somebody who may not be trusted.
absl::Status Shortened(const absl::Status& status);
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace linchpin::rpc
