// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What became of each trust epoch: what changed, what share of the fleet had it after a second, a
// minute, an hour, a day, and when it was in force everywhere. An epoch's record is written with
// the change itself, then at these marks until it is complete: a few writes an epoch, however many
// nodes there are. Pure; one thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "ca/core/coverage_gate.h"
#include "ca/core/registry.h"
#include "ca/store/store.h"
#include "linchpin/ca/v1/admin.pb.h"

namespace linchpin::ca {

inline constexpr size_t kEpochsKept = 200;

// Appends the record of the new epoch to a batch that raises the trust epoch, with what the batch
// changes, and drops the record that is too old. Any other batch stays as it is.
void AddEpochRecord(const Registry& registry, absl::Time now, std::vector<Write>* batch);

// How many of the nodes that count have the epoch, and how many of their services enforce it.
v1::CoverageCount CountCoverage(const CoverageView& view, uint64_t epoch, absl::Time now);
// The same of each of these epochs, which are in ascending order; nodes are looked through once.
std::vector<v1::CoverageCount> CountCoverage(const CoverageView& view,
                                             const std::vector<uint64_t>& epochs, absl::Time now);
// One service more; a covered one by its evidence.
void CountService(const v1::Consumer& service, bool covered, v1::CoverageCount* to);

// A record as it is told: with the marks that passed after the epoch was complete, at which it had
// the share that completed it.
v1::EpochCoverage ToldAt(v1::EpochCoverage recorded, absl::Time now);

class EpochHistory {
 public:
  // Marks before this were passed while no CA ran: they are left out.
  void Started(absl::Time now) { started_ = now; }
  absl::Time started() const { return started_; }
  // Before anything happens at `now`: nothing has changed since the marks that are due.
  void TakeMarks(const CoverageView& view, absl::Time now);
  // After something happened: has an epoch come into force everywhere?
  void LookForComplete(const CoverageView& view, absl::Time now);

  // Records that say more than the store does. The same until Registry shows them.
  std::vector<Write> Unwritten(const Registry& registry) const;

 private:
  void Open(const Registry& registry);
  bool IsComplete(const CoverageView& view, uint64_t epoch, absl::Time now);

  absl::Time started_ = absl::InfinitePast();
  std::map<std::string, v1::EpochCoverage> open_;  // by record key: those that are incomplete
  std::map<std::string, v1::EpochCoverage> done_;  // complete, not written yet
  std::string opened_;                             // the last key that was looked at
  absl::Time next_mark_ = absl::InfiniteFuture();
  std::string waits_for_;  // a node that was missing last time
};

}  // namespace linchpin::ca
