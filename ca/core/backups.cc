// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/backups.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/offline_root.h"
#include "ca/core/rotation.h"
#include "ca/core/rotation_draft.h"
#include "trust/canary.h"
#include "trust/text.h"
#include "x509/certificate_builder.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMostUnfinished = 8;

bool IsBackup(const Authority& authority) {
  return !authority.is_root && authority.state == kBackup;
}
bool IsFinished(const Authority& authority) {
  return authority.twin.has_value() || !authority.withheld;
}

// Of a rotation that is under way, which decides what becomes of them.
std::set<std::string> KeysOfRotation(const Registry& registry) {
  const auto* row = CurrentRotation(registry);
  if (row == nullptr || IsOver(row->record)) return {};
  std::set<std::string> keys(row->record.new_keys().begin(), row->record.new_keys().end());
  keys.insert(row->record.old_keys().begin(), row->record.old_keys().end());
  return keys;
}

Write Changed(const Tables& tables, const Authority& authority,
              const std::function<void(state::v1::AuthorityRecord*)>& change) {
  const auto& row = tables.registry.authorities().at(authority.record_key);
  state::v1::AuthorityRecord record = row.record;
  change(&record);
  return {
      .key = authority.record_key, .value = record.SerializeAsString(), .expected = row.revision};
}

Write Retired(const Tables& tables, const Authority& authority) {
  return Changed(tables, authority, [](state::v1::AuthorityRecord* record) {
    record->set_state(kRetired);
    record->set_withheld(true);
    record->clear_trusted_from();
  });
}

bool IsNamed(const std::optional<trust::v1::PinSet>& set, const Authorities& authorities,
             const Authority& authority) {
  if (!set.has_value()) return true;
  google::protobuf::RepeatedPtrField<std::string> keys;
  *keys.Add() = authority.record_key;
  return NamesAll(*set, authorities, keys);
}

std::string CanaryWarning(const Tables& tables) {
  for (const Authority& authority : tables.authorities.all()) {
    if (!IsBackup(authority) || authority.withheld) continue;
    const std::string pin = authority.certificate.public_key().pin().bytes();
    size_t bad = 0;
    for (const auto& [node_id, holds] : tables.coverage.nodes()) {
      const auto judged = holds.canaries.find(pin);
      if (judged != holds.canaries.end() && !judged->second.empty()) ++bad;
    }
    if (bad == 0) continue;
    return absl::StrCat(bad, " nodes would refuse what the backup issuer ",
                        authority.certificate.fields().subject,
                        " signs: linchpin failover --check names them and says why");
  }
  return "";
}

}  // namespace

const Authority* FindBackup(const Authorities& authorities, absl::string_view pin_bytes) {
  const Authority* found = authorities.FindIssuer(pin_bytes);
  return found != nullptr && IsBackup(*found) ? found : nullptr;
}

absl::StatusOr<AuthorityPlan> PlanBackup(const Tables& tables, const x509::PublicKey& key,
                                         const std::string& request, absl::Time now) {
  size_t unfinished = 0;
  for (const Authority& authority : tables.authorities.all()) {
    if (IsBackup(authority) && !IsFinished(authority)) ++unfinished;
    if (!(authority.certificate.public_key() == key)) continue;
    return absl::AlreadyExistsError(
        absl::StrCat("the key ", key.pin().ToString(), " is that of the ", authority.state, " ",
                     authority.is_root ? "root" : "issuer",
                     "; a backup needs a key of its own: name a file that does not exist"));
  }
  if (unfinished >= kMostUnfinished) {
    return absl::FailedPreconditionError(
        absl::StrCat(unfinished,
                     " backup issuers were begun and not finished: run linchpin ca backup create "
                     "again for one of their key files"));
  }
  const Authority* root = tables.authorities.RootOf(tables.authorities.active());
  RETURN_IF_ERROR(CheckRootLasts(tables.options.profile, *root, now));
  const std::string name =
      absl::StrCat("backup-", absl::BytesToHexString(key.pin().bytes().substr(0, 8)));
  return AuthorityPlan{.profile = tables.options.profile,
                       .authorities = {{.is_root = false,
                                        .state = kBackup,
                                        .key_name = name,
                                        .elsewhere = key,
                                        .awaits = IsOffline(*root),
                                        .request = request}},
                       .root = root->certificate,
                       .root_key_name = root->key_name,
                       .withheld = true};
}

absl::StatusOr<std::vector<Write>> FinishBackup(const Tables& tables,
                                                const v1::FinishBackupRequest& asked,
                                                absl::Time now) {
  const Authority* backup = nullptr;
  for (const Authority& authority : tables.authorities.all()) {
    if (IsBackup(authority) && authority.certificate.der() == asked.certificate()) {
      backup = &authority;
    }
  }
  if (backup == nullptr) {
    return absl::NotFoundError(
        "no backup issuer of this CA has that certificate; run linchpin ca backup create again");
  }
  if (IsFinished(*backup)) return std::vector<Write>();
  ASSIGN_OR_RETURN(const x509::Certificate twin, x509::Certificate::FromDer(asked.twin()));
  if (!x509::IsTwinOf(twin, backup->certificate)) {
    return absl::InvalidArgumentError(
        absl::StrCat("what was sent is no twin of ", backup->certificate.fields().subject,
                     "; use the linchpin command of this CA's version"));
  }
  RETURN_IF_ERROR(
      trust::CheckCanary(tables.options.profile.trust_domain, backup->certificate, asked.canary()));
  // Before it replaces one that is good.
  const Authority* root = tables.authorities.RootOf(*backup);
  ASSIGN_OR_RETURN(const x509::Certificate canary, x509::Certificate::FromDer(asked.canary()));
  if (root != nullptr) {
    RETURN_IF_ERROR(JudgeUnderRoot(tables.options.profile, root->certificate, backup->certificate,
                                   canary, now));
  }
  const bool told = IsNamed(SetInForce(tables.registry), tables.authorities, *backup);
  const uint64_t epoch = tables.registry.trust().record.epoch() + 1;
  std::vector<Write> batch;
  batch.push_back(Changed(tables, *backup, [&](state::v1::AuthorityRecord* record) {
    record->set_twin(asked.twin());
    record->set_canary(asked.canary());
    record->set_withheld(!told);
    if (told) record->set_trusted_from(epoch);
  }));
  const std::set<std::string> rotating = KeysOfRotation(tables.registry);
  for (const Authority& other : tables.authorities.all()) {
    if (&other == backup || !IsBackup(other) || rotating.count(other.record_key) > 0) continue;
    // Under a signed set those that are trusted stay so until it names the new one.
    if (told || other.withheld) batch.push_back(Retired(tables, other));
  }
  if (told) {
    state::v1::TrustRecord trust = tables.registry.trust().record;
    trust.set_epoch(epoch);
    batch.push_back({.key = kTrustKey,
                     .value = trust.SerializeAsString(),
                     .expected = tables.registry.trust().revision});
  }
  return batch;
}

void AddBackupsOfPublished(const Tables& tables, const trust::v1::PinSet& set, uint64_t epoch,
                           std::vector<Write>* batch) {
  const std::set<std::string> rotating = KeysOfRotation(tables.registry);
  std::vector<const Authority*> named, others;
  for (const Authority& authority : tables.authorities.all()) {
    if (!IsBackup(authority) || !IsFinished(authority)) continue;
    if (rotating.count(authority.record_key) > 0) continue;
    (IsNamed(set, tables.authorities, authority) ? named : others).push_back(&authority);
  }
  for (const Authority* authority : named) {
    const bool since =
        tables.registry.authorities().at(authority->record_key).record.trusted_from();
    if (!authority->withheld && since) continue;
    batch->push_back(Changed(tables, *authority, [&](state::v1::AuthorityRecord* record) {
      record->set_withheld(false);
      record->set_trusted_from(epoch);
    }));
  }
  for (const Authority* authority : others) {
    if (authority->withheld) continue;
    if (!named.empty()) {
      batch->push_back(Retired(tables, *authority));
      continue;
    }
    batch->push_back(Changed(tables, *authority, [](state::v1::AuthorityRecord* record) {
      record->clear_trusted_from();
    }));
  }
}

bool IsToBePinned(const Tables& tables, const Authority& authority) {
  if (!IsBackup(authority)) return true;
  if (!IsFinished(authority)) return false;
  const std::set<std::string> rotating = KeysOfRotation(tables.registry);
  if (authority.withheld || rotating.count(authority.record_key) > 0) return true;
  return std::none_of(tables.authorities.all().begin(), tables.authorities.all().end(),
                      [&](const Authority& other) {
                        return IsBackup(other) && other.withheld && IsFinished(other) &&
                               rotating.count(other.record_key) == 0;
                      });
}

std::string BackupWarning(const Tables& tables, absl::Time now) {
  const auto set = SetInForce(tables.registry);
  bool waits = false;
  absl::Time last = absl::InfinitePast();
  for (const Authority& authority : tables.authorities.all()) {
    if (!IsBackup(authority)) continue;
    const bool named = IsNamed(set, tables.authorities, authority);
    waits = waits || (IsFinished(authority) && (authority.withheld || !named));
    if (authority.withheld || !named || IsLeaving(tables.registry, authority)) continue;
    last = std::max(last, authority.certificate.fields().not_after);
  }
  if (last > now) return CanaryWarning(tables);
  if (waits) {
    return "the backup issuer is in no published pin set, so nothing could be failed over to it: "
           "linchpin pins draft --out FILE, pins sign, pins publish";
  }
  return absl::StrCat("there is no backup issuer",
                      last > absl::InfinitePast() ? " that has not expired" : "",
                      ", so nothing could be failed over to: linchpin ca backup create --out FILE");
}

}  // namespace linchpin::ca
