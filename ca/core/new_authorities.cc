// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/new_authorities.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/authorities.h"
#include "ca/core/registry.h"
#include "trust/canary.h"

namespace linchpin::ca {
namespace {

absl::StatusOr<x509::PrivateKey> KeyOf(const KeysByName& keys, const std::string& name) {
  const auto it = keys.find(name);
  if (it != keys.end()) return it->second;
  return absl::FailedPreconditionError(
      absl::StrCat("the key ", name, " is not at hand; nothing was made"));
}

state::v1::AuthorityRecord RecordOf(const NewAuthority& made, const x509::Certificate& certificate,
                                    absl::Time now, bool withheld) {
  state::v1::AuthorityRecord record;
  record.set_state(made.state);
  record.set_certificate(certificate.der());
  record.set_key_name(made.key_name);
  record.set_created_at(absl::ToUnixSeconds(now));
  record.set_withheld(withheld);
  if (!withheld) record.set_trusted_from(1);  // of a first start
  return record;
}

}  // namespace

absl::StatusOr<std::vector<Write>> MakeAuthorities(const AuthorityPlan& plan,
                                                   const KeysByName& keys, absl::Time now,
                                                   base::Random& random) {
  std::vector<Write> writes;
  std::optional<x509::Certificate> root = plan.root;
  std::string root_key_name = plan.root_key_name;
  for (const NewAuthority& wanted : plan.authorities) {
    std::optional<x509::Certificate> certificate;
    std::string twin, canary;
    if (wanted.elsewhere.has_value() && root.has_value()) {
      ASSIGN_OR_RETURN(const x509::PrivateKey root_key, KeyOf(keys, root_key_name));
      const auto spec = IssuerSpec(plan.profile, *wanted.elsewhere, *root, now, random);
      ASSIGN_OR_RETURN(certificate,
                       x509::SignCertificate(spec, *wanted.elsewhere, *root, root_key));
    } else if (wanted.is_root) {
      ASSIGN_OR_RETURN(const x509::PrivateKey key, KeyOf(keys, wanted.key_name));
      ASSIGN_OR_RETURN(certificate,
                       x509::SelfSign(RootSpec(plan.profile, key.public_key(), now, random), key));
      root = certificate;
      root_key_name = wanted.key_name;
    } else if (root.has_value()) {
      ASSIGN_OR_RETURN(const x509::PrivateKey key, KeyOf(keys, wanted.key_name));
      ASSIGN_OR_RETURN(const x509::PrivateKey root_key, KeyOf(keys, root_key_name));
      const auto spec = IssuerSpec(plan.profile, key.public_key(), *root, now, random);
      ASSIGN_OR_RETURN(certificate, x509::SignCertificate(spec, key.public_key(), *root, root_key));
      ASSIGN_OR_RETURN(const x509::Certificate made,
                       x509::MakeTwin(*certificate, key, NewSerial(random)));
      twin = made.der();
      if (wanted.state == kBackup) {
        ASSIGN_OR_RETURN(
            const x509::Certificate leaf,
            trust::MakeCanary(plan.profile.trust_domain, *certificate, key, NewSerial(random)));
        canary = leaf.der();
      }
    } else {
      return absl::InternalError(absl::StrCat("no root for the issuer ", wanted.key_name));
    }
    state::v1::AuthorityRecord record = RecordOf(wanted, *certificate, now, plan.withheld);
    record.set_twin(std::move(twin));
    record.set_canary(std::move(canary));
    writes.push_back({.key = AuthorityKey(wanted.is_root, certificate->public_key().pin().bytes()),
                      .value = record.SerializeAsString(),
                      .expected = 0});
  }
  return writes;
}

AuthorityPlan FirstAuthorities(const Profile& profile) {
  return {.profile = profile,
          .authorities = {{.is_root = true, .state = kActive, .key_name = kRootKeyName},
                          {.is_root = false, .state = kActive, .key_name = kActiveKeyName},
                          {.is_root = false, .state = kBackup, .key_name = kBackupKeyName}},
          .root = std::nullopt,
          .root_key_name = "",
          .withheld = false};
}

absl::StatusOr<std::vector<Write>> FirstRecords(const Profile& profile, const FirstKeys& keys,
                                                absl::Time now, base::Random& random) {
  ASSIGN_OR_RETURN(std::vector<Write> made, MakeAuthorities(FirstAuthorities(profile),
                                                            {{kRootKeyName, keys.root},
                                                             {kActiveKeyName, keys.active},
                                                             {kBackupKeyName, keys.backup}},
                                                            now, random));
  state::v1::Meta meta;
  meta.set_format(Registry::kFormat);
  meta.set_trust_domain(profile.trust_domain.name());
  meta.set_incarnation(base::RandomBytes(random, 16));
  state::v1::TrustRecord trust;
  trust.set_epoch(1);
  std::vector<Write> batch;
  batch.push_back({.key = kMetaKey, .value = meta.SerializeAsString(), .expected = 0});
  batch.push_back({.key = kTrustKey, .value = trust.SerializeAsString(), .expected = 0});
  for (Write& write : made) batch.push_back(std::move(write));
  return batch;
}

}  // namespace linchpin::ca
