// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What an agent delivers, for people. Never shows a key.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "linchpin/agent/v1/mtls_context.pb.h"

namespace linchpin::cli {

absl::StatusOr<std::string> DescribeContexts(const agent::v1::MtlsContexts& contexts,
                                             absl::Time now);
// Of a caller without an identity: what the agent saw of it, and what to do.
std::string DescribeSelectors(const agent::v1::MtlsContexts& contexts);

}  // namespace linchpin::cli
