// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Backup issuers: trusted everywhere, issuing nothing, their keys kept apart from the CA. One made
// by `linchpin ca backup create` comes in two commits, because its key never is here: certified,
// and then, once its twin is here too, told to the nodes: at once under set 0, else with the pin
// set that names it. Then it replaces those before it. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/admin.h"
#include "ca/core/new_authorities.h"
#include "trust/pin_set.h"

namespace linchpin::ca {

// `request` (DER) is for a root that is kept offline: then it is stored for that root to answer.
// ALREADY_EXISTS: the key is another authority's; FAILED_PRECONDITION: the root ends too soon.
absl::StatusOr<AuthorityPlan> PlanBackup(const Tables& tables, const x509::PublicKey& key,
                                         const std::string& request, absl::Time now);
// The backup issuer of this key that was certified already; null: none.
const Authority* FindBackup(const Authorities& authorities, absl::string_view pin_bytes);
// INVALID_ARGUMENT: it is no twin; NOT_FOUND: no such backup. Empty: it is finished already.
absl::StatusOr<std::vector<Write>> FinishBackup(const Tables& tables,
                                                const v1::FinishBackupRequest& asked,
                                                absl::Time now);

// What publishing `set` makes of the backups that `batch` does not write yet: those that it names
// are told to the nodes from `epoch` on, of the others those go that one of them replaces.
void AddBackupsOfPublished(const Tables& tables, const trust::v1::PinSet& set, uint64_t epoch,
                           std::vector<Write>* batch);
// Is a pin set to name it? Not a backup that is not finished, or that another one waits to replace.
bool IsToBePinned(const Tables& tables, const Authority& authority);

// That there is none, or soon; empty if all is well.
std::string BackupWarning(const Tables& tables, absl::Time now);

}  // namespace linchpin::ca
