// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The backup issuer takes over, in one commit: it signs from then on, what signed before is
// retiring. Everybody has its chain and its pin already, so this is a rotation that begins at
// activate (rotation.h), with the gate of activate, and goes on with drain and drop. A rotation
// that was under way ends with it. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/admin.h"
#include "ca/core/new_authorities.h"

namespace linchpin::ca {

// What is to be kept before: the key that was given; nothing, if none was. Refuses whatever
// DecideFailover() would: INVALID_ARGUMENT: the key is no backup's; FAILED_PRECONDITION: its gate
// is closed, or it cannot take over; each says which and what to do.
absl::StatusOr<std::optional<AuthorityPlan>> PlanFailover(const Tables& tables,
                                                          const Failover& asked, absl::Time now);
absl::StatusOr<std::vector<Write>> DecideFailover(const Tables& tables, const Failover& asked,
                                                  const std::string& by, absl::Time now);
// That could take over if all nodes have what they should.
size_t UsableBackups(const Tables& tables, absl::Time now);
// The backup issuers, and how nodes judged their canaries; without gates.
google::protobuf::RepeatedPtrField<v1::BackupIssuer> DescribeBackups(const Tables& tables,
                                                                     absl::Time now);
// For operators: which backups there are, and what would hinder them.
v1::FailoverOutlook DescribeFailover(const Tables& tables, absl::Time now);

}  // namespace linchpin::ca
