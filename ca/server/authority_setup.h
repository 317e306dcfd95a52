// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The first start: root, active and backup issuer.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/new_authorities.h"
#include "ca/core/profile.h"
#include "ca/keys/key_manager.h"
#include "ca/store/store.h"

namespace linchpin::ca {

struct AuthoritySetup {
  Profile profile;
};

// Does nothing if the store has been set up. Else makes the keys, each durable, and then everything
// else in one commit: a crash between leaves keys without a record, which the next start takes up.
// FAILED_PRECONDITION: the store has records, but none of a set-up.
absl::Status SetUpAuthorities(Store& store, KeyManager& keys, const AuthoritySetup& setup,
                              absl::Time now);

// Makes keys that are not there yet, each durable, and what `plan` wants of them. NOT_FOUND: the
// root's key is not here.
absl::StatusOr<std::vector<Write>> MakePlannedAuthorities(KeyManager& keys,
                                                          const AuthorityPlan& plan,
                                                          absl::Time now);

}  // namespace linchpin::ca
