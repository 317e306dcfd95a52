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
namespace {

// Stores `record` as the next trust epoch, unless it is what is held already.
Decision Publish(const Tables& tables, state::v1::TrustRecord record) {
  const Row<state::v1::TrustRecord>& held = tables.registry.trust();
  Decision decision;
  if (record.SerializeAsString() != held.record.SerializeAsString()) {
    record.set_epoch(held.record.epoch() + 1);
    decision.batch.push_back(
        {.key = kTrustKey, .value = record.SerializeAsString(), .expected = held.revision});
  }
  decision.answer = [](const Tables& then, absl::Time) {
    const state::v1::TrustRecord& now = then.registry.trust().record;
    auto answer = std::make_shared<v1::PinSetPublished>();
    trust::v1::PinSet set;
    set.ParseFromString(now.pin_sets(now.pin_sets_size() - 1).payload());
    answer->set_version(set.version());
    answer->set_trust_epoch(now.epoch());
    return answer;
  };
  return decision;
}

}  // namespace

absl::StatusOr<trust::v1::TrustState> Answer(const Tables& tables, absl::Time,
                                             const v1::GetTrustStateRequest&) {
  return TrustMessage(tables.registry, tables.authorities, 0);
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const PublishPinSet& asked,
                                const std::string& by) {
  const state::v1::TrustRecord& held = tables.registry.trust().record;
  const auto& sets = held.pin_sets();
  // Publishing what is in force already changes nothing.
  if (!sets.empty() && sets[sets.size() - 1].SerializeAsString() == asked.set.SerializeAsString()) {
    return Publish(tables, held);
  }
  ASSIGN_OR_RETURN(state::v1::TrustRecord record,
                   WithPinSet(tables.options.profile.trust_domain, held, asked.set, now));
  trust::v1::PinSet set;
  set.ParseFromString(asked.set.payload());
  PublishedMove move = MoveOfPublished(tables, set, by, now);
  RETURN_IF_ERROR(CheckCovers(asked.set, tables.authorities, move.leaving, now));
  Decision decision = Publish(tables, std::move(record));
  for (Write& write : move.writes) decision.batch.push_back(std::move(write));
  AddBackupsOfPublished(tables, set, held.epoch() + 1, &decision.batch);
  return decision;
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const PlayRelax& asked) {
  ASSIGN_OR_RETURN(state::v1::TrustRecord record,
                   WithRelax(tables.options.profile.trust_domain, tables.registry.trust().record,
                             asked.document, now));
  return Publish(tables, std::move(record));
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now,
                                const PublishFreshness& asked) {
  ASSIGN_OR_RETURN(state::v1::TrustRecord record,
                   WithFreshness(tables.registry.trust().record, asked.statement, now));
  return Publish(tables, std::move(record));
}

}  // namespace linchpin::ca
