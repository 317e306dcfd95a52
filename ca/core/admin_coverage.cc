// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of coverage.

#include "absl/strings/str_cat.h"
#include "ca/core/admin.h"
#include "ca/core/coverage_gate.h"

namespace linchpin::ca {
absl::StatusOr<v1::Coverage> Answer(const Tables& tables, absl::Time now,
                                    const v1::CoverageRequest& asked) {
  const uint64_t current = tables.registry.trust().record.epoch();
  const uint64_t epoch = asked.epoch() == 0 ? current : asked.epoch();
  if (epoch > current) {
    return absl::InvalidArgumentError(
        absl::StrCat("trust epoch ", epoch, " is not there yet; the current one is ", current));
  }
  const CoverageView view{tables.registry, tables.coverage, tables.outstanding};
  const Gate gate = AskGate(view, epoch, now);
  v1::Coverage answer;
  answer.set_epoch(epoch);
  answer.set_complete(gate.complete);
  for (const auto& [node_id, row] : tables.registry.nodes()) {
    if (row.record.state() != "attested") continue;
    const NodeHolds* holds = tables.coverage.Find(node_id);
    const bool connected = holds != nullptr && holds->connected;
    if (!connected && now > LeavesAt(view, row.record)) continue;
    v1::NodeCoverage* node = answer.add_nodes();
    node->set_node_id(node_id);
    node->set_connected(connected);
    node->set_covered(tables.coverage.CoveredEpoch(node_id, now) >= epoch);
    if (holds == nullptr) continue;
    node->set_epoch_held(holds->trust_epoch);
    if (holds->last_seen > absl::UnixEpoch()) {
      node->set_last_seen(absl::ToUnixSeconds(holds->last_seen));
    }
    node->set_refused(holds->refused);
    for (const auto& [id, consumer] : holds->consumers) *node->add_consumers() = consumer.said;
  }
  return answer;
}

}  // namespace linchpin::ca
