// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/authority_setup.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "ca/core/authorities.h"
#include "ca/core/imported.h"
#include "ca/core/new_authorities.h"

namespace linchpin::ca {
namespace {

absl::StatusOr<x509::PrivateKey> CreateOrOpen(KeyManager& keys, const std::string& name,
                                              x509::KeyType type) {
  absl::StatusOr<x509::PrivateKey> key = keys.Create(name, type);
  if (!absl::IsAlreadyExists(key.status())) return key;
  return keys.Open(name);
}

// All of its records; none, if there are others too.
absl::StatusOr<AwaitedRows> AwaitedAmong(const Store::Listing& listing) {
  AwaitedRows rows;
  for (const Record& record : listing.records) {
    state::v1::AwaitedRecord awaited;
    if (!absl::StartsWith(record.key, kAwaitedPrefix)) return AwaitedRows();
    if (!awaited.ParseFromString(record.value)) {
      return absl::DataLossError(absl::StrCat(
          "the store's record ", record.key,
          " cannot be read; nothing depends on it yet: delete the data directory and begin again"));
    }
    rows[record.key] = {std::move(awaited), record.revision};
  }
  return rows;
}

absl::Status CheckStillExternal(const AuthoritySetup& setup) {
  if (setup.profile.external_root) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "this CA waits for certificates of a root that is kept offline, and authority.root is "
      "generate now; set it to external again, or delete the data directory and begin anew: "
      "nothing depends on it yet");
}

absl::Status AskOfflineRoot(Store& store, KeyManager& keys, const AuthoritySetup& setup,
                            absl::Time now) {
  ASSIGN_OR_RETURN(const std::vector<Write> requests,
                   MakePlannedAuthorities(keys, FirstRequests(setup.profile), now));
  return store.Commit(requests).status();
}

absl::StatusOr<x509::PrivateKey> KeyFor(KeyManager& keys, const NewAuthority& wanted,
                                        x509::KeyType type) {
  if (!wanted.certified.has_value()) return CreateOrOpen(keys, wanted.key_name, type);
  absl::StatusOr<x509::PrivateKey> key = keys.Open(wanted.key_name);
  if (key.ok()) return key;
  return absl::Status(
      key.status().code(),
      absl::StrCat(
          "the key ", wanted.key_name, " of ", wanted.certified->fields().subject,
          " cannot be used, so nothing was imported: ", std::string(key.status().message())));
}

// What the store has while it waits, so that the log of changes tells what was asked for.
absl::StatusOr<Registry> TablesOf(const AwaitedRows& awaited) {
  Registry registry;
  for (const auto& [key, row] : awaited) {
    RETURN_IF_ERROR(registry.Apply(
        {{.key = key, .value = row.record.SerializeAsString(), .expected = std::nullopt}},
        row.revision));
  }
  return registry;
}

v1::Authority Described(const Profile& profile, const NewAuthority& made, absl::Time now) {
  const x509::Certificate& certificate = *made.certified;
  const x509::CertificateFields& fields = certificate.fields();
  v1::Authority shown;
  shown.set_kind(made.is_root ? "root" : "issuer");
  shown.set_state(made.state);
  shown.set_subject(fields.subject);
  shown.set_spki_sha256(certificate.public_key().pin().bytes());
  shown.set_certificate(certificate.der());
  shown.set_not_before(absl::ToUnixSeconds(fields.not_before));
  shown.set_not_after(absl::ToUnixSeconds(fields.not_after));
  shown.set_key_present(!made.is_root);
  shown.set_offline(made.is_root);
  shown.set_warning(ImportWarning(profile, certificate, now));
  return shown;
}

}  // namespace

absl::StatusOr<AwaitedRows> AwaitedAtStart(Store& store) {
  ASSIGN_OR_RETURN(const Store::Listing listing, store.List(""));
  return AwaitedAmong(listing);
}

absl::StatusOr<v1::ImportedCertificates> ImportAtStart(Store& store, KeyManager& keys,
                                                       const AuthoritySetup& setup,
                                                       const FirstImport& asked, absl::Time now) {
  ASSIGN_OR_RETURN(const AwaitedRows awaited, AwaitedAtStart(store));
  if (awaited.empty()) {
    return absl::UnavailableError("the certificates are here already and the CA begins to serve");
  }
  ASSIGN_OR_RETURN(const AuthorityPlan plan,
                   PlanFirstImport(setup.profile, awaited, asked.request, now));
  ASSIGN_OR_RETURN(std::vector<Write> made, MakePlannedAuthorities(keys, plan, now));
  std::vector<Write> batch = FirstRecordsOf(setup.profile, std::move(made), base::SystemRandom());
  for (const auto& [key, row] : awaited) {
    batch.push_back({.key = key, .value = std::nullopt, .expected = row.revision});
  }
  ASSIGN_OR_RETURN(const Registry before, TablesOf(awaited));
  AddChangeRecord(before, asked.by, now, &batch);
  RETURN_IF_ERROR(store.Commit(batch).status());
  v1::ImportedCertificates answer;
  for (const NewAuthority& one : plan.authorities) {
    *answer.add_authorities() = Described(setup.profile, one, now);
  }
  answer.set_first_start(true);
  answer.add_next("linchpin ca pins");
  answer.add_next("linchpin node token");
  return answer;
}

absl::Status SetUpAuthorities(Store& store, KeyManager& keys, const AuthoritySetup& setup,
                              absl::Time now) {
  RETURN_IF_ERROR(setup.profile.Check());
  ASSIGN_OR_RETURN(const Store::Listing listing, store.List(""));
  for (const Record& record : listing.records) {
    if (record.key == kMetaKey) return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const AwaitedRows awaited, AwaitedAmong(listing));
  if (!awaited.empty()) return CheckStillExternal(setup);
  if (!listing.records.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the store has ", listing.records.size(),
                     " records but none of a set-up; restore it from a backup"));
  }
  if (setup.profile.external_root) return AskOfflineRoot(store, keys, setup, now);
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
    const bool no_key_here = wanted.is_root && wanted.certified.has_value();
    if (wanted.elsewhere.has_value() || no_key_here) continue;
    ASSIGN_OR_RETURN(x509::PrivateKey key, KeyFor(keys, wanted, plan.profile.key_type));
    by_name.emplace(wanted.key_name, std::move(key));
  }
  return MakeAuthorities(plan, by_name, now, base::SystemRandom());
}

}  // namespace linchpin::ca
