// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The first start: root, active and backup issuer.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/random.h"
#include "ca/core/profile.h"
#include "ca/keys/key_manager.h"
#include "ca/store/store.h"
#include "x509/key.h"

namespace linchpin::ca {

struct AuthoritySetup {
  Profile profile;
  x509::KeyType key_type = x509::KeyType::kP256;
};

// Does nothing if the store has been set up. Else makes the keys, each durable, and then everything
// else in one commit: a crash between leaves keys without a record, which the next start takes up.
// FAILED_PRECONDITION: the store has records, but none of a set-up.
absl::Status SetUpAuthorities(Store& store, KeyManager& keys, const AuthoritySetup& setup,
                              absl::Time now);

}  // namespace linchpin::ca
