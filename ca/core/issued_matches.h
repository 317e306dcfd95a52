// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a revocation denies among what was issued and is still valid. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "linchpin/ca/v1/admin.pb.h"

namespace linchpin::ca {

struct IssuedMatches {
  static constexpr size_t kMaxSerials = 50000;

  size_t count = 0;
  absl::Time last_expires = absl::InfinitePast();
  struct Leaf {
    std::string serial;
    absl::Time expires;
  };
  std::vector<Leaf> of_node;  // where a node is revoked; at most kMaxSerials

  // Takes the entry into account if `asked` revokes it and it is valid at `now`.
  void Look(const v1::RevokeRequest& asked, const v1::LogEntry& entry, absl::Time now);
};

}  // namespace linchpin::ca
