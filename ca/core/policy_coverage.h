// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Which nodes hold a revision of the policy and which services enforce it. Policy is in no trust
// epoch and no gate waits for it: who changes it may ask. A node shows it by the revision that it
// acknowledged; a service by the digest of the rules that it says it enforces, compared with that
// of its identities' rules as they are now. It says nothing of what a service is about to be told:
// one that a change reaches after it was taken back enforces it for a moment. Pure.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/coverage_gate.h"
#include "linchpin/ca/v1/admin.pb.h"

namespace linchpin::ca {

// Of what concerns the node, it has taken all until this revision: one that is sent nothing of a
// change has what the change says. 0: none that this store had.
uint64_t RevisionHeld(const Registry& registry, const NodeHolds& node);

// `revision` 0: the last that changed the policy. Services are compared with the policy of now,
// also where an earlier revision is asked for. INVALID_ARGUMENT: a revision that is still to come.
absl::StatusOr<v1::Coverage> PolicyCoverage(const CoverageView& view, uint64_t revision,
                                            absl::Time now);

}  // namespace linchpin::ca
