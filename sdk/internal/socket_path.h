// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Which socket the agent listens on.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace linchpin::tls {

// The absolute path: of `option`, else of the environment, else the default. `environment` answers
// null for an unset variable. INVALID_ARGUMENT names where a bad text came from.
absl::StatusOr<std::string> ResolveSocket(
    const std::string& option, const std::function<const char*(const char*)>& environment);

}  // namespace linchpin::tls
