// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What the CA is told at its start. Pure values.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "ca/core/profile.h"

namespace linchpin::ca {

struct CoreOptions {
  Profile profile;                                   // lifetimes and backdating
  absl::Duration reattest_grace = absl::Hours(168);  // of an expired node certificate
  // Begins the source of what objects of a cluster keep in the registry; empty: none do, and what
  // they left there is operators' to delete.
  std::string objects_source;
};

}  // namespace linchpin::ca
