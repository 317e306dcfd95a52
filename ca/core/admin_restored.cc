// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators say of a store that was put back from a copy.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ca/core/admin.h"
#include "ca/core/coverage_gate.h"
#include "ca/core/restored.h"
#include "ca/core/rotation.h"

namespace linchpin::ca {
namespace {

// Of certificates that were issued since the copy, as far as it shows what is issued here.
absl::Duration LongestTtl(const Tables& tables) {
  const Profile& profile = tables.options.profile;
  absl::Duration longest = std::max(profile.node_ttl, profile.leaf_ttl);
  for (const auto& [id, row] : tables.registry.identities()) {
    longest = std::max(longest, absl::Seconds(row.record.identity().ttl_seconds()));
  }
  return longest;
}

}  // namespace

// A new incarnation: nodes take the trust state that this store has, whatever epoch they hold, and
// are sent all that it has. Trust epochs count on from the copy's. What the copy cannot know was
// issued before now.
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now,
                                const v1::DeclareRestoredRequest& asked) {
  state::v1::Meta meta = tables.registry.meta();
  meta.set_incarnation(base::RandomBytes(tables.random, 16));
  const absl::Time last = absl::FromUnixSeconds(absl::ToUnixSeconds(now) + 1);
  SetIssuedHere(tables, now, &meta);
  meta.set_restored_at(absl::ToUnixSeconds(now));
  meta.set_unknown_until(
      absl::ToUnixSeconds(std::max(UnknownUntil(tables.registry), last + LongestTtl(tables))));
  meta.clear_take_renewed_until();
  if (asked.take_renewed_nodes()) {
    meta.set_take_renewed_until(absl::ToUnixSeconds(last + tables.options.profile.node_ttl));
  }
  Decision decision;
  decision.batch.push_back(
      {.key = kMetaKey, .value = meta.SerializeAsString(), .expected = std::nullopt});
  // Who was excepted when it was put back before is not who is unknown now.
  const auto* rotation = CurrentRotation(tables.registry);
  if (rotation != nullptr && !IsOver(rotation->record)) {
    state::v1::RotationRecord record = rotation->record;
    auto& except = *record.mutable_except();
    except.erase(std::remove(except.begin(), except.end(), kUnknownNodes), except.end());
    decision.batch.push_back({.key = RotationKey(record.number()),
                              .value = record.SerializeAsString(),
                              .expected = rotation->revision});
  }
  decision.answer = [](const Tables& then, absl::Time) {
    auto answer = std::make_shared<v1::RestoredStore>();
    answer->set_incarnation(then.registry.meta().incarnation());
    answer->set_trust_epoch(then.registry.trust().record.epoch());
    answer->set_connected_nodes(then.sessions.size());
    answer->set_unknown_until(absl::ToUnixSeconds(UnknownUntil(then.registry) + kClocksDiffer));
    answer->set_renewed_nodes_until(then.registry.meta().take_renewed_until());
    return answer;
  };
  return decision;
}

std::string NodesAheadWarning(const Tables& tables) {
  const uint64_t epoch = tables.registry.trust().record.epoch();
  size_t ahead = 0;
  std::string first;
  for (const auto& [node_id, holds] : tables.coverage.nodes()) {
    if (!holds.connected || holds.trust_epoch <= epoch) continue;
    if (ahead++ == 0) first = absl::StrCat(node_id, " holds epoch ", holds.trust_epoch);
  }
  if (ahead == 0) return "";
  return absl::StrCat(ahead, " nodes hold trust epochs after ", epoch,
                      ", the last that this store knows (", first,
                      "): if it was put back from a copy, revoke again what was revoked since, "
                      "then: linchpin ca restored");
}

}  // namespace linchpin::ca
