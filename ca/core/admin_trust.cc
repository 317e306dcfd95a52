// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of pin sets.

#include <utility>

#include "base/status_macros.h"
#include "ca/core/admin.h"
#include "ca/core/backups.h"
#include "ca/core/pin_sets.h"
#include "ca/core/rotation.h"

namespace linchpin::ca {

absl::StatusOr<trust::v1::TrustState> Answer(const Tables& tables, absl::Time,
                                             const v1::GetTrustStateRequest&) {
  return TrustMessage(tables.registry, tables.authorities, 0);
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const PublishPinSet& asked) {
  const Row<state::v1::TrustRecord>& held = tables.registry.trust();
  const auto& sets = held.record.pin_sets();
  Decision decision;
  // Publishing what is in force already changes nothing.
  if (sets.empty() || sets[sets.size() - 1].SerializeAsString() != asked.set.SerializeAsString()) {
    ASSIGN_OR_RETURN(state::v1::TrustRecord record,
                     WithPinSet(tables.options.profile.trust_domain, held.record, asked.set, now));
    record.set_epoch(held.record.epoch() + 1);
    trust::v1::PinSet set;
    set.ParseFromString(asked.set.payload());
    PublishedMove move = MoveOfPublished(tables, set, record.epoch(), now);
    RETURN_IF_ERROR(CheckCovers(asked.set, tables.authorities, move.leaving, now));
    decision.batch = std::move(move.writes);
    AddBackupsOfPublished(tables, set, record.epoch(), &decision.batch);
    decision.batch.push_back(
        {.key = kTrustKey, .value = record.SerializeAsString(), .expected = held.revision});
  }
  trust::v1::PinSet published;
  published.ParseFromString(asked.set.payload());
  decision.answer = [version = published.version()](const Tables& then, absl::Time) {
    auto answer = std::make_shared<v1::PinSetPublished>();
    answer->set_version(version);
    answer->set_trust_epoch(then.registry.trust().record.epoch());
    return answer;
  };
  return decision;
}

}  // namespace linchpin::ca
