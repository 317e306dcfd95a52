// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The join token's file.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace linchpin::agent {

// The token alone, without the white space around it. INVALID_ARGUMENT names the file: empty, over
// 4 KiB, or more than one word. The token is never quoted.
absl::StatusOr<std::string> ReadJoinToken(const std::string& file);

}  // namespace linchpin::agent
