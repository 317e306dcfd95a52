// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/new_authorities.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/authorities.h"
#include "ca/core/registry.h"
#include "trust/canary.h"
#include "trust/issuer_request.h"
#include "trust/pin_set.h"
#include "trust/text.h"
#include "trust/trust_state.h"

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

// The request that a root which is kept offline is to answer.
absl::StatusOr<Write> AskFor(const AuthorityPlan& plan, const NewAuthority& wanted,
                             const KeysByName& keys, absl::Time now) {
  state::v1::AwaitedRecord record;
  record.set_state(wanted.state);
  record.set_key_name(wanted.key_name);
  record.set_elsewhere(wanted.elsewhere.has_value());
  record.set_asked_at(absl::ToUnixSeconds(now));
  record.set_rotation(plan.rotation);
  std::string pin;
  if (wanted.elsewhere.has_value()) {
    pin = wanted.elsewhere->pin().bytes();
    record.set_certificate_request(wanted.request);
  } else {
    ASSIGN_OR_RETURN(const x509::PrivateKey key, KeyOf(keys, wanted.key_name));
    pin = key.public_key().pin().bytes();
    ASSIGN_OR_RETURN(*record.mutable_certificate_request(),
                     trust::MakeIssuerRequest(plan.profile.trust_domain, key));
  }
  return Write{.key = AwaitedKey(pin), .value = record.SerializeAsString(), .expected = 0};
}

// Certificates and what is made while the key is at hand.
struct Made {
  x509::Certificate certificate;
  std::string twin = {};
  std::string canary = {};
};

class Maker {
 public:
  Maker(const AuthorityPlan& plan, const KeysByName& keys, absl::Time now, base::Random& random)
      : plan_(plan),
        keys_(keys),
        now_(now),
        random_(random),
        root_(plan.root),
        root_key_name_(plan.root_key_name) {}

  absl::StatusOr<Made> Make(const NewAuthority& wanted) {
    if (wanted.is_root) return MakeRoot(wanted);
    if (!root_.has_value()) {
      return absl::InternalError(absl::StrCat("no root for the issuer ", wanted.key_name));
    }
    if (wanted.elsewhere.has_value()) {
      ASSIGN_OR_RETURN(x509::Certificate certificate, Certify(wanted, *wanted.elsewhere));
      return Made{std::move(certificate)};
    }
    ASSIGN_OR_RETURN(const x509::PrivateKey key, KeyOf(keys_, wanted.key_name));
    ASSIGN_OR_RETURN(x509::Certificate certificate, Certify(wanted, key.public_key()));
    Made made{std::move(certificate)};
    ASSIGN_OR_RETURN(const x509::Certificate twin,
                     x509::MakeTwin(made.certificate, key, NewSerial(random_)));
    made.twin = twin.der();
    if (wanted.state != kBackup && !wanted.certified.has_value()) return made;
    ASSIGN_OR_RETURN(
        const x509::Certificate canary,
        trust::MakeCanary(plan_.profile.trust_domain, made.certificate, key, NewSerial(random_)));
    if (wanted.certified.has_value()) {
      RETURN_IF_ERROR(JudgeUnderRoot(plan_.profile, *root_, made.certificate, canary, now_));
    }
    if (wanted.state == kBackup) made.canary = canary.der();
    return made;
  }

 private:
  absl::StatusOr<Made> MakeRoot(const NewAuthority& wanted) {
    root_ = wanted.certified;
    root_key_name_ = wanted.key_name;
    if (root_.has_value()) return Made{*root_};
    ASSIGN_OR_RETURN(const x509::PrivateKey key, KeyOf(keys_, wanted.key_name));
    ASSIGN_OR_RETURN(root_,
                     x509::SelfSign(RootSpec(plan_.profile, key.public_key(), now_, random_), key));
    return Made{*root_};
  }

  absl::StatusOr<x509::Certificate> Certify(const NewAuthority& wanted,
                                            const x509::PublicKey& key) {
    if (wanted.certified.has_value()) {
      if (wanted.certified->public_key() == key) return *wanted.certified;
      return absl::FailedPreconditionError(absl::StrCat(
          "the key ", wanted.key_name, " is not the one that was certified; nothing was made"));
    }
    ASSIGN_OR_RETURN(const x509::PrivateKey root_key, KeyOf(keys_, root_key_name_));
    return x509::SignCertificate(IssuerSpec(plan_.profile, key, *root_, now_, random_), key, *root_,
                                 root_key);
  }

  const AuthorityPlan& plan_;
  const KeysByName& keys_;
  const absl::Time now_;
  base::Random& random_;
  std::optional<x509::Certificate> root_;
  std::string root_key_name_;
};

}  // namespace

absl::Status JudgeUnderRoot(const Profile& profile, const x509::Certificate& root,
                            const x509::Certificate& issuer, const x509::Certificate& canary,
                            absl::Time now) {
  trust::TrustStateParts parts{
      .trust_domain = profile.trust_domain,
      .epoch = 1,
      .anchors = {root},
      .issuers = {issuer},
      .pins = trust::SetZero({root.public_key().pin()}, {issuer.public_key().pin()}),
      .revocations = {}};
  ASSIGN_OR_RETURN(const auto state, trust::TrustState::Make(std::move(parts)));
  google::protobuf::RepeatedPtrField<trust::v1::Canary> canaries;
  trust::v1::Canary* one = canaries.Add();
  one->set_issuer_key_sha256(issuer.public_key().pin().bytes());
  one->set_leaf(canary.der());
  const std::vector<trust::v1::CanaryVerdict> verdicts = trust::JudgeCanaries(state, canaries, now);
  if (verdicts.size() == 1 && verdicts[0].good()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the certificate ", trust::Quoted(issuer.fields().subject),
                   " is not taken: agents would refuse what it signs: ",
                   verdicts.empty() ? "" : verdicts[0].why(), "; nothing was imported"));
}

absl::StatusOr<std::vector<Write>> MakeAuthorities(const AuthorityPlan& plan,
                                                   const KeysByName& keys, absl::Time now,
                                                   base::Random& random) {
  std::vector<Write> writes;
  Maker maker(plan, keys, now, random);
  for (const NewAuthority& wanted : plan.authorities) {
    if (wanted.awaits) {
      ASSIGN_OR_RETURN(Write asked, AskFor(plan, wanted, keys, now));
      writes.push_back(std::move(asked));
      continue;
    }
    ASSIGN_OR_RETURN(Made made, maker.Make(wanted));
    state::v1::AuthorityRecord record = RecordOf(wanted, made.certificate, now, plan.withheld);
    record.set_twin(std::move(made.twin));
    record.set_canary(std::move(made.canary));
    const std::string pin = made.certificate.public_key().pin().bytes();
    writes.push_back({.key = AuthorityKey(wanted.is_root, pin),
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

AuthorityPlan FirstRequests(const Profile& profile) {
  AuthorityPlan plan = FirstAuthorities(profile);
  plan.authorities.erase(plan.authorities.begin());
  for (NewAuthority& issuer : plan.authorities) issuer.awaits = true;
  return plan;
}

std::vector<Write> FirstRecordsOf(const Profile& profile, std::vector<Write> made,
                                  base::Random& random) {
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

absl::StatusOr<std::vector<Write>> FirstRecords(const Profile& profile, const FirstKeys& keys,
                                                absl::Time now, base::Random& random) {
  ASSIGN_OR_RETURN(std::vector<Write> made, MakeAuthorities(FirstAuthorities(profile),
                                                            {{kRootKeyName, keys.root},
                                                             {kActiveKeyName, keys.active},
                                                             {kBackupKeyName, keys.backup}},
                                                            now, random));
  return FirstRecordsOf(profile, std::move(made), random);
}

}  // namespace linchpin::ca
