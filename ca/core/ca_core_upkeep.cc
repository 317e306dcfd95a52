// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What the CA writes of itself from time to time.

#include <utility>

#include "ca/core/admin.h"
#include "ca/core/ca_core.h"
#include "ca/core/change_log.h"
#include "ca/core/log_head.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMaxSeen = 512;  // written at once
// Each time the fleet is sent the trust state anew.
constexpr absl::Duration kBetweenLapses = absl::Minutes(10);

std::vector<Write> UnwrittenSeen(const Registry& registry, const Coverage& coverage,
                                 absl::Time now) {
  std::vector<Write> writes;
  for (const auto& [node_id, holds] : coverage.nodes()) {
    if (writes.size() == kMaxSeen) break;
    if (holds.connected || !holds.heard || registry.FindNode(node_id) == nullptr) continue;
    const std::string key = SeenKey(node_id);
    const auto stored = registry.seen().find(key);
    const bool is_there = stored != registry.seen().end();
    const int64_t last_seen = absl::ToUnixSeconds(holds.last_seen);
    if (is_there && stored->second.record.seen_at() == last_seen) continue;
    state::v1::SeenRecord record;
    record.set_node_id(node_id);
    record.set_seen_at(last_seen);
    writes.push_back({.key = key,
                      .value = record.SerializeAsString(),
                      .expected = is_there ? stored->second.revision : 0});
  }
  for (const auto& [key, row] : registry.seen()) {
    if (writes.size() == 2 * kMaxSeen) break;
    if (registry.FindNode(row.record.node_id()) != nullptr) continue;
    if (absl::FromUnixSeconds(row.record.forgotten_until()) > now) continue;
    writes.push_back({.key = key, .value = std::nullopt, .expected = row.revision});
  }
  return writes;
}

}  // namespace

// The history at once; all else from time to time.
void CaCore::KeepUp(absl::Time now, bool all, Actions* out) {
  if (draining_) return;
  const bool room = queue_.size() < kMaxQueued;
  // With whatever is committed; alone where nothing is.
  if (!under_way_.has_value() && queue_.empty() && IsLogAhead(registry_, last_tick_)) {
    const auto prepare = [this](absl::Time then) -> absl::StatusOr<Change> {
      Change change;
      AddLogHead(registry_, last_tick_, then, &change.batch);
      return change;
    };
    Enqueue(now, std::nullopt, prepare, out);
  }
  if (room && !history_queued_ && !history_.Unwritten(registry_).empty()) {
    history_queued_ = true;
    const auto prepare = [this](absl::Time) -> absl::StatusOr<Change> {
      history_queued_ = false;
      return Change{.batch = history_.Unwritten(registry_), .then = {}};
    };
    Enqueue(now, std::nullopt, prepare, out);
  }
  if (all && !UnwrittenSeen(registry_, coverage_, now).empty()) {
    const auto prepare = [this](absl::Time then) -> absl::StatusOr<Change> {
      return Change{.batch = UnwrittenSeen(registry_, coverage_, then), .then = {}};
    };
    Enqueue(now, std::nullopt, prepare, out);
  }
  if (!all || now < lapse_at_ || WithoutLapsed(registry_, now).empty()) return;
  lapse_at_ = now + kBetweenLapses;
  const auto prepare = [this](absl::Time then) -> absl::StatusOr<Change> {
    Change change{.batch = WithoutLapsed(registry_, then), .then = {}};
    AddChangeRecord(registry_, {kItself, "", "", "lapse"}, then, &change.batch);
    return change;
  };
  Enqueue(now, std::nullopt, prepare, out);
}

}  // namespace linchpin::ca
