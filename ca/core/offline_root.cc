// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/offline_root.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/imported.h"
#include "ca/core/rotation.h"
#include "ca/core/rotation_draft.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

using Asked = v1::ImportCertificatesRequest;
using Records = std::vector<state::v1::AwaitedRecord>;

// What is to sign comes before backups.
std::vector<std::pair<std::string, state::v1::AwaitedRecord>> InOrder(const AwaitedRows& awaited) {
  std::vector<std::pair<std::string, state::v1::AwaitedRecord>> all;
  for (const auto& [key, row] : awaited) all.emplace_back(key, row.record);
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return (a.second.state() == kBackup) < (b.second.state() == kBackup);
  });
  return all;
}

std::set<std::string> KeysOf(const Asked& asked) {
  std::set<std::string> pins;
  for (const std::string& der : asked.certificates()) {
    const auto certificate = x509::Certificate::FromDer(der);
    if (certificate.ok()) pins.insert(certificate->public_key().pin().bytes());
  }
  return pins;
}

// Of all that is awaited, what these certificates are for: each backup that is kept apart is by
// itself, what a rotation waits for belongs together.
absl::StatusOr<AwaitedRows> MeantBy(const AwaitedRows& awaited, const Asked& asked) {
  const std::set<std::string> given = KeysOf(asked);
  std::set<uint64_t> groups;
  for (const auto& [key, row] : awaited) {
    ASSIGN_OR_RETURN(const x509::PublicKey wanted, KeyOfAwaited(row.record));
    if (given.count(wanted.pin().bytes()) > 0) groups.insert(row.record.rotation());
  }
  if (groups.empty()) return awaited;
  if (groups.size() > 1) {
    return absl::InvalidArgumentError(
        "some of these certificates are for the rotation, others for a backup issuer; import them "
        "in two commands, nothing was imported");
  }
  AwaitedRows meant;
  for (const auto& [key, row] : awaited) {
    ASSIGN_OR_RETURN(const x509::PublicKey wanted, KeyOfAwaited(row.record));
    if (row.record.rotation() != *groups.begin()) continue;
    if (row.record.elsewhere() && given.count(wanted.pin().bytes()) == 0) continue;
    meant.emplace(key, row);
  }
  return meant;
}

void AddAuthorities(const AwaitedRows& awaited, const Imported& imported, AuthorityPlan* plan) {
  for (const auto& [key, record] : InOrder(awaited)) {
    const absl::StatusOr<x509::PublicKey> wanted = KeyOfAwaited(record);
    if (!wanted.ok()) continue;  // CheckImport() has read it
    NewAuthority issuer{.is_root = false, .state = record.state(), .key_name = record.key_name()};
    if (record.elsewhere()) issuer.elsewhere = *wanted;
    issuer.certified = imported.issuers.at(wanted->pin().bytes());
    plan->authorities.push_back(std::move(issuer));
  }
}

bool IsHere(const Tables& tables, const std::string& der) {
  const auto& all = tables.authorities.all();
  return std::any_of(all.begin(), all.end(),
                     [&](const Authority& one) { return one.certificate.der() == der; });
}

// Given again because an answer was lost: all that the rotation's last import brought, or a backup
// that is not finished yet.
bool IsLastImport(const Tables& tables, const Asked& asked) {
  const std::set<std::string> given = KeysOf(asked);
  const auto* rotation = CurrentRotation(tables.registry);
  if (rotation != nullptr && rotation->record.awaited_keys_size() > 0) {
    bool all = rotation->record.new_keys_size() > 0;
    for (const std::string& key : rotation->record.new_keys()) {
      const Authority* made = tables.authorities.Find(key);
      if (made == nullptr || made->is_root) continue;
      all = all && given.count(made->certificate.public_key().pin().bytes()) > 0;
    }
    if (all) return true;
  }
  const auto& authorities = tables.authorities.all();
  return std::any_of(authorities.begin(), authorities.end(), [&](const Authority& one) {
    return one.state == kBackup && !one.twin.has_value() &&
           given.count(one.certificate.public_key().pin().bytes()) > 0;
  });
}

absl::Status NothingAwaited() {
  return absl::FailedPreconditionError(
      "no certificate is awaited, so nothing was imported: linchpin rotate prepare, or linchpin ca "
      "backup create, asks for one under a root that is kept offline");
}

// Is it a new root that is to answer it?
bool IsOfNewRoot(const Tables& tables, const state::v1::AwaitedRecord& awaited) {
  const auto* rotation = CurrentRotation(tables.registry);
  return rotation != nullptr && rotation->record.what() == kRoot &&
         awaited.rotation() == rotation->record.number();
}

v1::AwaitedCertificate Shown(const state::v1::AwaitedRecord& record, absl::string_view purpose) {
  v1::AwaitedCertificate shown;
  const absl::StatusOr<x509::PublicKey> wanted = KeyOfAwaited(record);
  shown.set_state(record.state());
  if (wanted.ok()) shown.set_spki_sha256(wanted->pin().bytes());
  shown.set_certificate_request(record.certificate_request());
  shown.set_asked_at(record.asked_at());
  shown.set_purpose(std::string(purpose));
  return shown;
}

// What these certificates are for, and what is to be made of them.
struct Meant {
  AwaitedRows awaited;
  AuthorityPlan plan;
};

absl::StatusOr<Meant> Check(const Tables& tables, const Asked& asked, absl::Time now) {
  ASSIGN_OR_RETURN(AwaitedRows awaited, MeantBy(tables.registry.awaited(), asked));
  if (awaited.empty()) return NothingAwaited();
  ImportRules rules{
      .profile = tables.options.profile, .awaited = {}, .root = std::nullopt, .others = {}};
  for (const auto& [key, row] : awaited) rules.awaited.push_back(row.record);
  for (const Authority& authority : tables.authorities.all()) {
    if (authority.state != kRetired) rules.others.push_back(authority.certificate);
  }
  // Those that are meant are all of one rotation, or of none.
  const bool of_new_root = IsOfNewRoot(tables, awaited.begin()->second.record);
  if (!of_new_root) {
    rules.root = tables.authorities.RootOf(tables.authorities.active())->certificate;
  }
  ASSIGN_OR_RETURN(
      Imported imported,
      CheckImport(rules, {asked.certificates().begin(), asked.certificates().end()}, now));
  AuthorityPlan plan{.profile = tables.options.profile,
                     .authorities = {},
                     .root = rules.root,
                     .root_key_name = "",
                     .withheld = true};
  if (of_new_root) {
    plan.authorities.push_back(
        {.is_root = true, .state = kPrepared, .key_name = "", .certified = imported.root});
  }
  AddAuthorities(awaited, imported, &plan);
  return Meant{std::move(awaited), std::move(plan)};
}

}  // namespace

bool IsOffline(const Authority& root) { return root.is_root && root.key_name.empty(); }

absl::Status CheckRootLasts(const Profile& profile, const Authority& root, absl::Time now) {
  const x509::CertificateFields& fields = root.certificate.fields();
  if (fields.not_after - now >= profile.node_ttl) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the root ", fields.subject, " expires at ", trust::TimeText(fields.not_after),
                   ", too soon for another issuer: linchpin rotate prepare --what root"));
}

v1::AwaitedList DescribeFirstAwaited(const Profile& profile, const AwaitedRows& awaited) {
  v1::AwaitedList list;
  list.set_trust_domain(profile.trust_domain.name());
  list.set_first_start(true);
  for (const auto& [key, record] : InOrder(awaited)) {
    *list.add_certificates() = Shown(record, kForFirstStart);
  }
  return list;
}

v1::AwaitedList DescribeAwaited(const Tables& tables) {
  v1::AwaitedList list;
  list.set_trust_domain(tables.registry.meta().trust_domain());
  const Authority* root = tables.authorities.RootOf(tables.authorities.active());
  for (const auto& [key, record] : InOrder(tables.registry.awaited())) {
    // Its root was replaced by one of the CA's own, which certifies it when it is asked for again.
    if (record.elsewhere() && !IsOffline(*root)) continue;
    v1::AwaitedCertificate* one = list.add_certificates();
    *one = Shown(record, record.elsewhere() ? kForBackup : kForRotation);
    if (IsOfNewRoot(tables, record)) continue;
    one->set_root_sha256(root->certificate.public_key().pin().bytes());
    one->set_root_subject(root->certificate.fields().subject);
  }
  return list;
}

absl::StatusOr<std::optional<AuthorityPlan>> PlanImport(const Tables& tables, const Asked& asked,
                                                        absl::Time now) {
  const auto& ders = asked.certificates();
  const bool all_here =
      std::all_of(ders.begin(), ders.end(), [&](const auto& der) { return IsHere(tables, der); });
  if (!ders.empty() && all_here) {
    const size_t awaited = tables.registry.awaited().size();
    if (awaited == 0 || IsLastImport(tables, asked)) return std::nullopt;
    return absl::FailedPreconditionError(absl::StrCat(
        "these certificates are here already, and none of them is one of the ", awaited,
        " that are still awaited: linchpin ca csr prints the requests for those; "
        "nothing was imported"));
  }
  ASSIGN_OR_RETURN(Meant meant, Check(tables, asked, now));
  return std::move(meant.plan);
}

absl::StatusOr<std::vector<Write>> DecideImport(const Tables& tables, const ImportMade& asked,
                                                const std::string& by, absl::Time now) {
  ASSIGN_OR_RETURN(const Meant meant, Check(tables, asked.asked, now));  // again: it took its time
  const uint64_t rotation = meant.awaited.begin()->second.record.rotation();
  std::vector<Write> batch = asked.made;
  for (Write& write : batch) {  // a root that was retired, or given up, may come again
    const Authority* before = tables.authorities.Find(write.key);
    if (before == nullptr || before->state != kRetired) continue;
    write.expected = tables.registry.authorities().at(write.key).revision;
  }
  if (rotation > 0) {
    ASSIGN_OR_RETURN(batch, ContinueRotation(tables, by, std::move(batch), now));
  }
  for (const auto& [key, row] : meant.awaited) {
    batch.push_back({.key = key, .value = std::nullopt, .expected = row.revision});
  }
  return batch;
}

absl::StatusOr<AuthorityPlan> PlanFirstImport(const Profile& profile, const AwaitedRows& awaited,
                                              const Asked& asked, absl::Time now) {
  ImportRules rules{.profile = profile, .awaited = {}, .root = std::nullopt, .others = {}};
  for (const auto& [key, row] : awaited) rules.awaited.push_back(row.record);
  ASSIGN_OR_RETURN(
      const Imported imported,
      CheckImport(rules, {asked.certificates().begin(), asked.certificates().end()}, now));
  AuthorityPlan plan{.profile = profile,
                     .authorities = {{.is_root = true,
                                      .state = kActive,
                                      .key_name = "",
                                      .certified = imported.root}},
                     .root = std::nullopt,
                     .root_key_name = "",
                     .withheld = false};
  AddAuthorities(awaited, imported, &plan);
  return plan;
}

void DropAwaited(const AwaitedRows& awaited, uint64_t rotation, std::vector<Write>* batch) {
  for (const auto& [key, row] : awaited) {
    if (row.record.rotation() != rotation) continue;
    batch->push_back({.key = key, .value = std::nullopt, .expected = row.revision});
  }
}

std::vector<std::string> AbandonedKeys(const Registry& registry, const Authorities& authorities) {
  std::set<std::string> used;
  for (const Authority& authority : authorities.all()) used.insert(authority.key_name);
  std::vector<std::string> names;
  for (const auto& [key, row] : registry.rotations()) {
    if (row.record.step() != v1::ABORTED) continue;
    for (const std::string& name : row.record.awaited_keys()) {
      if (used.count(name) == 0) names.push_back(name);
    }
  }
  return names;
}

}  // namespace linchpin::ca
