// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/authority_setup.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "ca/core/authorities.h"

namespace linchpin::ca {
namespace {

absl::StatusOr<x509::PrivateKey> CreateOrOpen(KeyManager& keys, const std::string& name,
                                              x509::KeyType type) {
  absl::StatusOr<x509::PrivateKey> key = keys.Create(name, type);
  if (!absl::IsAlreadyExists(key.status())) return key;
  return keys.Open(name);
}

}  // namespace

absl::Status SetUpAuthorities(Store& store, KeyManager& keys, const AuthoritySetup& setup,
                              absl::Time now) {
  RETURN_IF_ERROR(setup.profile.Check());
  ASSIGN_OR_RETURN(const Store::Listing listing, store.List(""));
  for (const Record& record : listing.records) {
    if (record.key == kMetaKey) return absl::OkStatus();
  }
  if (!listing.records.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the store has ", listing.records.size(),
                     " records but none of a set-up; restore it from a backup"));
  }
  ASSIGN_OR_RETURN(const x509::PrivateKey root, CreateOrOpen(keys, kRootKeyName, setup.key_type));
  ASSIGN_OR_RETURN(const x509::PrivateKey active,
                   CreateOrOpen(keys, kActiveKeyName, setup.key_type));
  ASSIGN_OR_RETURN(const x509::PrivateKey backup,
                   CreateOrOpen(keys, kBackupKeyName, setup.key_type));
  ASSIGN_OR_RETURN(const std::vector<Write> records,
                   FirstRecords(setup.profile, {.root = root, .active = active, .backup = backup},
                                now, base::SystemRandom()));
  RETURN_IF_ERROR(store.Commit(records).status());
  base::LogInfo("made a root, an active and a backup issuer",
                {{"trust_domain", setup.profile.trust_domain.name()},
                 {"root", root.public_key().pin().ToString()},
                 {"active", active.public_key().pin().ToString()},
                 {"backup", backup.public_key().pin().ToString()}});
  return absl::OkStatus();
}

}  // namespace linchpin::ca
