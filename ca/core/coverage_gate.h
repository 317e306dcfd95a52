// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Whether a trust epoch is in force everywhere: what gates ask before a step that would break a
// node or service which does not have it yet. Current state, by evidence; pure.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "ca/core/coverage.h"
#include "ca/core/outstanding.h"
#include "ca/core/registry.h"

namespace linchpin::ca {

// What the nodes' clocks may be behind this CA's: as much as certificates' beginnings are given.
inline constexpr absl::Duration kClocksDiffer = absl::Minutes(1);

// The tables that the answer depends on.
struct CoverageView {
  const Registry& registry;
  const Coverage& coverage;
  const Outstanding& outstanding;
};

// A node that does not hold the epoch, or a service of which does not enforce it.
struct Missing {
  std::string node_id;
  std::string reason;  // what goes after the node's name: "has not acknowledged …"
  bool connected = false;
  absl::Time late_since;  // of the epoch, or of the node where that is later
  absl::Time last_seen;   // the infinite past: never
  // When the last certificate issued through it has expired by everybody's clock. From then on a
  // node that is not connected does not count: nothing on it passes any more. After a store was put
  // back from a copy not before all has expired that the copy may not know of.
  absl::Time leaves_at;
};

struct Gate {
  bool complete = false;          // nobody is missing
  std::vector<Missing> missing;   // by node id
  std::vector<Missing> excepted;  // would be missing, but for `except`
  std::vector<Missing> left;      // silent, and leaves_at has passed: to be recorded by who goes on
  size_t nodes = 0;               // that count: covered or missing
};

// Epoch >= `epoch`, never equality: an older one is in force where a newer is.
Gate AskGate(const CoverageView& view, uint64_t epoch, absl::Time now,
             const std::set<std::string>& except = {});

// When a node stops counting if nothing more is issued through it.
absl::Time LeavesAt(const CoverageView& view, const state::v1::NodeRecord& node);
// Is it waited for at all? `node` is attested.
bool Counts(const CoverageView& view, const state::v1::NodeRecord& node, absl::Time now);
// Does what the node says of itself and of its services show that the epoch is in force on it?
// Not where it refuses what it was sent last, nor where it holds an epoch that this CA never gave:
// after an older store was restored, nodes hold epochs of another past.
bool Covers(const CoverageView& view, const std::string& node_id, uint64_t epoch, absl::Time now);
// Why the node does not cover the epoch; empty if it does.
std::string WhyMissing(const CoverageView& view, const std::string& node_id, uint64_t epoch,
                       absl::Time now);

}  // namespace linchpin::ca
