// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Who may ask what: operators, their roles, and the least role of each method. Pure.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "ca/core/change_log.h"
#include "ca/core/events.h"
#include "ca/core/registry.h"

namespace linchpin::ca {

// Each may all that the one before it may.
enum class Role {
  kViewer,     // looks
  kRegistrar,  // identities, policy, join tokens
  kAdmin,      // all
};
inline constexpr absl::Duration kDefaultOperatorTtl = absl::Hours(8);
inline constexpr absl::Duration kLongestOperatorTtl = absl::Hours(24);
inline constexpr size_t kMaxOperators = 1000;

absl::string_view RoleName(Role role);
std::optional<Role> ParseRole(absl::string_view name);
// The least role that may call a method of AdminService ("CreateIdentity"). Nothing: the method has
// no row, and nobody may.
std::optional<Role> LeastRole(absl::string_view method);
// The method that a request is of.
absl::string_view MethodOf(const AdminRequest& request);

// Who it is, if `asker` may call `method` now. UNAUTHENTICATED: nobody knows who asks;
// PERMISSION_DENIED: no operator (any more), with another key, or whose role is too little.
absl::StatusOr<ChangedBy> CheckAsker(const Registry& registry, const Asker& asker,
                                     absl::string_view method, absl::Time now);

}  // namespace linchpin::ca
