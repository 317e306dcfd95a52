// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The first start: root, active and backup issuer.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/change_log.h"
#include "ca/core/new_authorities.h"
#include "ca/core/offline_root.h"
#include "ca/core/profile.h"
#include "ca/keys/key_manager.h"
#include "ca/store/store.h"

namespace linchpin::ca {

struct AuthoritySetup {
  Profile profile;
};

struct FirstImport {
  v1::ImportCertificatesRequest request;
  ChangedBy by;
};

// Does nothing if the store has been set up. Else makes the keys, each durable, and then everything
// else in one commit: a crash between leaves keys without a record, which the next start takes up.
// Where the root is kept offline, that is the issuers' keys and the requests for their
// certificates: the store waits then. FAILED_PRECONDITION: the store has records, but none of a
// set-up.
absl::Status SetUpAuthorities(Store& store, KeyManager& keys, const AuthoritySetup& setup,
                              absl::Time now);

// Requests that a root which is kept offline has not answered, without which nothing can begin;
// none: the store has been set up.
absl::StatusOr<AwaitedRows> AwaitedAtStart(Store& store);
// Sets the store up with what that root made. The errors of PlanFirstImport().
absl::StatusOr<v1::ImportedCertificates> ImportAtStart(Store& store, KeyManager& keys,
                                                       const AuthoritySetup& setup,
                                                       const FirstImport& asked, absl::Time now);

// Makes keys that are not there yet, each durable, and what `plan` wants of them. NOT_FOUND: the
// root's key is not here.
absl::StatusOr<std::vector<Write>> MakePlannedAuthorities(KeyManager& keys,
                                                          const AuthorityPlan& plan,
                                                          absl::Time now);

}  // namespace linchpin::ca
