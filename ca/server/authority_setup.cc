// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/authority_setup.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "ca/core/authorities.h"
#include "ca/core/new_authorities.h"

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
  ASSIGN_OR_RETURN(const x509::PrivateKey root,
                   CreateOrOpen(keys, kRootKeyName, setup.profile.key_type));
  ASSIGN_OR_RETURN(const x509::PrivateKey active,
                   CreateOrOpen(keys, kActiveKeyName, setup.profile.key_type));
  ASSIGN_OR_RETURN(const x509::PrivateKey backup,
                   CreateOrOpen(keys, kBackupKeyName, setup.profile.key_type));
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

absl::StatusOr<std::vector<Write>> MakePlannedAuthorities(KeyManager& keys,
                                                          const AuthorityPlan& plan,
                                                          absl::Time now) {
  for (const auto& [name, key] : plan.given) RETURN_IF_ERROR(keys.Import(name, key));
  KeysByName by_name;
  if (!plan.root_key_name.empty()) {
    absl::StatusOr<x509::PrivateKey> root = keys.Open(plan.root_key_name);
    if (!root.ok()) {
      return absl::Status(root.status().code(),
                          absl::StrCat("the root's key ", plan.root_key_name,
                                       " cannot be used, so no issuer can be certified: ",
                                       std::string(root.status().message())));
    }
    by_name.emplace(plan.root_key_name, *std::move(root));
  }
  for (const NewAuthority& wanted : plan.authorities) {
    if (wanted.elsewhere.has_value()) continue;
    ASSIGN_OR_RETURN(x509::PrivateKey key,
                     CreateOrOpen(keys, wanted.key_name, plan.profile.key_type));
    by_name.emplace(wanted.key_name, std::move(key));
  }
  return MakeAuthorities(plan, by_name, now, base::SystemRandom());
}

}  // namespace linchpin::ca
