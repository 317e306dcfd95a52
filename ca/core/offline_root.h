// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A root that is kept offline: what it is asked to certify, and what comes of it. A request is made
// with its key and stored (AwaitedRecord) before anybody is told of it, so it stays the same
// through crashes; the certificates are taken in one commit, whole or not at all. At a first start
// nothing else is in the store; later a rotation or a backup issuer waits. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/admin.h"
#include "ca/core/new_authorities.h"

namespace linchpin::ca {

using AwaitedRows = std::map<std::string, Row<state::v1::AwaitedRecord>>;  // by record key

// Its key never was here, and certificates by it come from outside.
bool IsOffline(const Authority& root);
// FAILED_PRECONDITION: another issuer under this root could not live long enough.
absl::Status CheckRootLasts(const Profile& profile, const Authority& root, absl::Time now);

// For operators, what is to sign first: at a first start, and later.
v1::AwaitedList DescribeFirstAwaited(const Profile& profile, const AwaitedRows& awaited);
v1::AwaitedList DescribeAwaited(const Tables& tables);
inline constexpr char kForFirstStart[] = "first-start";
inline constexpr char kForRotation[] = "rotation";
inline constexpr char kForBackup[] = "backup";

// What is to be made of the certificates; nothing, if they are all here already. INVALID_ARGUMENT
// and FAILED_PRECONDITION: imported.h; and where nothing is awaited.
absl::StatusOr<std::optional<AuthorityPlan>> PlanImport(const Tables& tables,
                                                        const v1::ImportCertificatesRequest& asked,
                                                        absl::Time now);
// ...once it is made.
absl::StatusOr<std::vector<Write>> DecideImport(const Tables& tables, const ImportMade& asked,
                                                const std::string& by, absl::Time now);
// The same at a first start, where there are no tables.
absl::StatusOr<AuthorityPlan> PlanFirstImport(const Profile& profile, const AwaitedRows& awaited,
                                              const v1::ImportCertificatesRequest& asked,
                                              absl::Time now);

// Adds deletions of what a rotation (0: a backup that is kept apart) waits for.
void DropAwaited(const AwaitedRows& awaited, uint64_t rotation, std::vector<Write>* batch);

// Names of keys that were made for rotations which were taken back before they were certified.
std::vector<std::string> AbandonedKeys(const Registry& registry, const Authorities& authorities);

}  // namespace linchpin::ca
