// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How issuers, roots and signers are replaced without breaking anybody, one durable commit a step:
//
//   prepare -> distribute -> activate -> drain -> drop -> done
//
// Under a root that is kept offline, prepare waits for its certificates (offline_root.h).
// What nodes trust grows before anything is issued from it, and shrinks after nothing issued from
// it is valid. So distribute makes the new keys trusted; activate waits until they are in force
// everywhere and makes the new issuer sign; drain waits until no certificate of the old issuer is
// valid; drop takes the old keys out of trust. Under signed pin sets, distribute and drop wait for
// a set that says so: it is published (PublishedMove), not asked for. Each step can be taken back.
//
// Everything here decides on the tables alone and gives writes; a crash between two steps leaves
// the one before. Pure.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/admin.h"
#include "ca/core/new_authorities.h"
#include "linchpin/ca/v1/admin.pb.h"

namespace linchpin::ca {

std::string RotationKey(uint64_t number);
// The current one, or the last; null if there never was one.
const Row<state::v1::RotationRecord>* CurrentRotation(const Registry& registry);
bool IsOver(const state::v1::RotationRecord& rotation);  // done or aborted
uint64_t NextRotation(const Registry& registry);         // the number of the next one

// PREPARE: what must be made first; no authorities for a change of signers. FAILED_PRECONDITION:
// another rotation is under way, or agents could not follow; INVALID_ARGUMENT.
absl::StatusOr<AuthorityPlan> PlanRotation(const Tables& tables, const v1::RotateRequest& request,
                                           absl::Time now);
// PREPARE, once `made` are at hand.
absl::StatusOr<std::vector<Write>> StartRotation(const Tables& tables,
                                                 const v1::RotateRequest& request,
                                                 const std::string& by, std::vector<Write> made,
                                                 absl::Time now);
// The certificates that it waited for have come: `made` are the records of what came of them.
absl::StatusOr<std::vector<Write>> ContinueRotation(const Tables& tables, const std::string& by,
                                                    std::vector<Write> made, absl::Time now);
// Every other step. FAILED_PRECONDITION: it is not its turn, or its gate is closed, and says what
// it waits for and what to do.
absl::StatusOr<std::vector<Write>> DecideRotation(const Tables& tables,
                                                  const v1::RotateRequest& request,
                                                  const std::string& by, absl::Time now);

// What it does to the rotation that `publisher` publishes `set`: nothing, or a step of it.
// Committed with the set, whose trust epoch is the next one.
struct PublishedMove {
  std::vector<Write> writes;
  std::set<std::string> leaving;  // record keys of authorities that the set need not name any more
};
PublishedMove MoveOfPublished(const Tables& tables, const trust::v1::PinSet& set,
                              const std::string& publisher, absl::Time now);

// What is due by itself: a dropped key is retired once nobody trusts it, and at the deadline a
// rotation that is to proceed does. Empty: nothing.
std::vector<Write> RotationDue(const Tables& tables, absl::Time now);

// Between activate and drain the issuer that does not sign any more, but is trusted by those too
// who have not heard of the new one; else null.
const Authority* IssuerBeforeDrain(const Registry& registry, const Authorities& authorities);

// Is the authority being dropped, so that the next pin set must not name it?
bool IsLeaving(const Registry& registry, const Authority& authority);

// What of its deadline an operator should act on; empty if nothing.
std::string RotationWarning(const Tables& tables, absl::Time now);

// For operators: where it is, what it waits for, what to do.
v1::Rotation DescribeRotation(const Tables& tables, absl::Time now);

}  // namespace linchpin::ca
