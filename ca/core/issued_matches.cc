// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/issued_matches.h"

#include <algorithm>

namespace linchpin::ca {
namespace {

bool Revokes(const v1::RevokeRequest& asked, const v1::LogEntry& entry) {
  switch (asked.what_case()) {
    case v1::RevokeRequest::kSpiffeId:
      return entry.spiffe_id() == asked.spiffe_id() &&
             (asked.before() == 0 || entry.not_before() <= asked.before());
    case v1::RevokeRequest::kSerial:
      return entry.serial() == asked.serial();
    case v1::RevokeRequest::kKeySha256:
      return entry.key_sha256() == asked.key_sha256() ||
             entry.issuer_key_sha256() == asked.key_sha256();
    case v1::RevokeRequest::kNodeId:
      return entry.node_id() == asked.node_id();
    case v1::RevokeRequest::WHAT_NOT_SET:
      break;
  }
  return false;
}

}  // namespace

void IssuedMatches::Look(const v1::RevokeRequest& asked, const v1::LogEntry& entry,
                         absl::Time now) {
  const absl::Time expires = absl::FromUnixSeconds(entry.not_after());
  if (expires <= now || !Revokes(asked, entry)) return;
  ++count;
  last_expires = std::max(last_expires, expires);
  if (asked.has_node_id() && of_node.size() < kMaxSerials) {
    of_node.push_back({entry.serial(), expires});
  }
}

}  // namespace linchpin::ca
