// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of coverage.

#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ca/core/admin.h"
#include "ca/core/coverage_gate.h"
#include "ca/core/epoch_history.h"
#include "ca/core/failover.h"
#include "ca/core/policy_coverage.h"
#include "ca/core/restored.h"

namespace linchpin::ca {
namespace {

v1::NodeCoverage OfNode(const CoverageView& view, const std::string& node_id) {
  v1::NodeCoverage node;
  node.set_node_id(node_id);
  const NodeHolds* holds = view.coverage.Find(node_id);
  if (holds == nullptr) return node;
  node.set_connected(holds->connected);
  node.set_epoch_held(holds->trust_epoch);
  if (holds->last_seen > absl::UnixEpoch()) {
    node.set_last_seen(absl::ToUnixSeconds(holds->last_seen));
  }
  node.set_refused(holds->refused);
  node.set_relaxed_until(holds->relaxed_until);
  for (const auto& [id, consumer] : holds->consumers) *node.add_consumers() = consumer.said;
  return node;
}

v1::NodeCoverage Late(const CoverageView& view, const Missing& missing) {
  v1::NodeCoverage node = OfNode(view, missing.node_id);
  node.set_why_late(missing.reason);
  node.set_late_since(absl::ToUnixSeconds(missing.late_since));
  node.set_leaves_at(absl::ToUnixSeconds(missing.leaves_at));
  return node;
}

}  // namespace

absl::StatusOr<v1::Coverage> Answer(const Tables& tables, absl::Time now,
                                    const v1::CoverageRequest& asked) {
  const CoverageView view{tables.registry, tables.coverage, tables.outstanding};
  if (asked.policy()) return PolicyCoverage(view, asked.revision(), now);
  const uint64_t current = tables.registry.trust().record.epoch();
  const uint64_t epoch = asked.epoch() == 0 ? current : asked.epoch();
  if (epoch > current) {
    return absl::InvalidArgumentError(
        absl::StrCat("trust epoch ", epoch, " is not there yet; the current one is ", current));
  }
  const Gate gate = AskGate(view, epoch, now);
  v1::Coverage answer;
  answer.set_epoch(epoch);
  answer.set_complete(gate.complete);
  for (const bool connected : {true, false}) {
    for (const Missing& missing : gate.missing) {
      if (missing.connected == connected) *answer.add_nodes() = Late(view, missing);
    }
  }
  for (const auto& [node_id, row] : tables.registry.nodes()) {
    if (row.record.state() != "attested" || !Counts(view, row.record, now)) continue;
    if (!Covers(view, node_id, epoch, now)) continue;
    v1::NodeCoverage* node = answer.add_nodes();
    *node = OfNode(view, node_id);
    node->set_covered(true);
    node->set_leaves_at(absl::ToUnixSeconds(LeavesAt(view, row.record)));
  }
  for (const Missing& missing : gate.left) *answer.add_left() = Late(view, missing);
  if (now < UnknownUntil(tables.registry) + kClocksDiffer) {
    answer.set_restored_at(tables.registry.meta().restored_at());
    answer.set_unknown_until(absl::ToUnixSeconds(UnknownUntil(tables.registry) + kClocksDiffer));
  }
  *answer.mutable_count() = CountCoverage(view, epoch, now);
  if (epoch == current) *answer.mutable_backups() = DescribeBackups(tables, now);
  const auto record = tables.registry.epochs().find(EpochKey(epoch));
  if (record != tables.registry.epochs().end()) {
    *answer.mutable_history() = ToldAt(record->second.record.coverage(), now);
  }
  return answer;
}

absl::StatusOr<v1::CoverageHistory> Answer(const Tables& tables, absl::Time now,
                                           const v1::CoverageHistoryRequest& asked) {
  const CoverageView view{tables.registry, tables.coverage, tables.outstanding};
  const size_t most = asked.most() == 0 ? kEpochsKept : asked.most();
  const auto& kept = tables.registry.epochs();
  auto it = kept.size() <= most ? kept.begin() : std::prev(kept.end(), static_cast<int64_t>(most));
  std::vector<v1::EpochCoverage> told;
  std::vector<uint64_t> epochs;
  for (; it != kept.end(); ++it) {
    told.push_back(ToldAt(it->second.record.coverage(), now));
    epochs.push_back(told.back().epoch());
  }
  const std::vector<v1::CoverageCount> counts = CountCoverage(view, epochs, now);
  v1::CoverageHistory answer;
  for (size_t i = told.size(); i-- > 0;) {
    *told[i].mutable_now() = counts[i];
    *answer.add_epochs() = std::move(told[i]);
  }
  return answer;
}

}  // namespace linchpin::ca
