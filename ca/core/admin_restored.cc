// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators say of a store that was put back from a copy.

#include <utility>

#include "absl/strings/str_cat.h"
#include "ca/core/admin.h"

namespace linchpin::ca {

// A new incarnation: nodes take the trust state that this store has, whatever epoch they hold, and
// are sent all that it has. Trust epochs count on from the copy's.
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time,
                                const v1::DeclareRestoredRequest&) {
  state::v1::Meta meta = tables.registry.meta();
  meta.set_incarnation(base::RandomBytes(tables.random, 16));
  Decision decision;
  decision.batch.push_back(
      {.key = kMetaKey, .value = meta.SerializeAsString(), .expected = std::nullopt});
  decision.answer = [](const Tables& then, absl::Time) {
    auto answer = std::make_shared<v1::RestoredStore>();
    answer->set_incarnation(then.registry.meta().incarnation());
    answer->set_trust_epoch(then.registry.trust().record.epoch());
    answer->set_connected_nodes(then.sessions.size());
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
