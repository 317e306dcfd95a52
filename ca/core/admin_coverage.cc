// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of coverage.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ca/core/admin.h"

namespace linchpin::ca {
namespace {

// The longest that a certificate issued through a node may outlive the node's own.
absl::Duration GateLife(const Tables& tables, const std::string& node_id) {
  absl::Duration longest = tables.options.profile.leaf_ttl;
  for (const auto& [id, row] : tables.registry.identities()) {
    if (!tables.registry.Sees(node_id, row.record.identity())) continue;
    longest = std::max(longest, absl::Seconds(row.record.identity().ttl_seconds()));
  }
  return longest;
}

}  // namespace

absl::StatusOr<v1::Coverage> Answer(const Tables& tables, absl::Time now,
                                    const v1::CoverageRequest& asked) {
  const uint64_t current = tables.registry.trust().record.epoch();
  const uint64_t epoch = asked.epoch() == 0 ? current : asked.epoch();
  if (epoch > current) {
    return absl::InvalidArgumentError(
        absl::StrCat("trust epoch ", epoch, " is not there yet; the current one is ", current));
  }
  v1::Coverage answer;
  answer.set_epoch(epoch);
  bool complete = true;
  for (const auto& [node_id, row] : tables.registry.nodes()) {
    if (row.record.state() != "attested") continue;
    const absl::Time expires = absl::FromUnixSeconds(row.record.certificate_expires_at());
    // Nothing that was issued through it is valid any more.
    if (now > expires && now > expires + GateLife(tables, node_id)) continue;
    v1::NodeCoverage node = tables.coverage.OfNode(node_id, epoch);
    node.set_connected(tables.sessions.count(node_id) > 0);
    complete = complete && node.covered();
    *answer.add_nodes() = std::move(node);
  }
  answer.set_complete(complete);
  return answer;
}

}  // namespace linchpin::ca
