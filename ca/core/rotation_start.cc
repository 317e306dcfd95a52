// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How a rotation begins.

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/offline_root.h"
#include "ca/core/rotation.h"
#include "ca/core/rotation_draft.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

constexpr uint64_t kKept = 32;  // rotations, the last ones

absl::Status CheckRequest(const Tables& tables, const v1::RotateRequest& request) {
  const std::string& what = request.what();
  if (what != kIssuer && what != kRoot && what != kSigners) {
    return absl::InvalidArgumentError(
        absl::StrCat("--what is ", trust::Quoted(what), "; issuer, root or signers is expected"));
  }
  const std::string& deadline = request.on_deadline();
  if (!deadline.empty() && deadline != kHold && deadline != kProceed) {
    return absl::InvalidArgumentError(absl::StrCat("--on-deadline is ", trust::Quoted(deadline),
                                                   "; hold or proceed is expected"));
  }
  const auto* row = CurrentRotation(tables.registry);
  if (row != nullptr && !IsOver(row->record)) {
    return absl::FailedPreconditionError(absl::StrCat(
        NameOf(row->record), " is under way and is ", StepName(row->record.step()),
        "; end it first: linchpin rotate status says how, linchpin rotate abort takes it back"));
  }
  if (what == kIssuer || SetInForce(tables.registry).has_value()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "no signed pin set is in force, and under set 0 agents ",
      what == kRoot ? "keep the roots of their first contact for ever and refuse any other"
                    : "know no signers",
      "; publish one first: linchpin pins keygen, pins draft, pins sign, pins publish"));
}

// What goes, the active issuer first of the issuers; with its root, all that is under it.
std::vector<std::string> OldKeys(const Authorities& authorities, const std::string& what) {
  const Authority& active = authorities.active();
  if (what == kSigners) return {};
  const Authority* root = authorities.RootOf(active);
  if (what == kIssuer) {
    // With it the backups, which a new one follows, and whatever a failover has left behind.
    std::vector<std::string> keys = {active.record_key};
    for (const Authority& authority : authorities.all()) {
      const bool stays = authority.is_root || authority.withheld || authority.state == kRetired;
      if (!stays && &authority != &active) keys.push_back(authority.record_key);
    }
    return keys;
  }
  std::vector<std::string> keys = {root->record_key};
  for (const Authority& authority : authorities.all()) {
    if (authority.is_root || authority.state == kRetired) continue;
    if (authorities.RootOf(authority) == root) keys.push_back(authority.record_key);
  }
  return keys;
}

// What comes and what goes, as it is now.
void SetKeys(const Tables& tables, const std::vector<Write>& made,
             state::v1::RotationRecord* rotation) {
  for (const Write& write : made) rotation->add_new_keys(write.key);
  for (std::string& key : OldKeys(tables.authorities, rotation->what())) {
    rotation->add_old_keys(std::move(key));
  }
  if (const Authority* old = SignerAmong(tables.authorities, rotation->old_keys())) {
    rotation->set_deadline(absl::ToUnixSeconds(DeadlineFor(tables.options.profile, *old)));
  }
}

// Were certificates only asked for?
bool AddAwaitedKeys(const std::vector<Write>& made, state::v1::RotationRecord* rotation) {
  for (const Write& write : made) {
    state::v1::AwaitedRecord record;
    if (!absl::StartsWith(write.key, kAwaitedPrefix)) continue;
    if (write.value.has_value() && record.ParseFromString(*write.value)) {
      rotation->add_awaited_keys(record.key_name());
    }
  }
  return rotation->awaited_keys_size() > 0;
}

// Retired ones that not even a node that comes back with its old certificate needs.
void PruneRetired(const Tables& tables, absl::Time now, std::vector<Write>* batch) {
  for (const Authority& authority : tables.authorities.all()) {
    const absl::Time ends =
        authority.certificate.fields().not_after + tables.options.reattest_grace;
    if (authority.state != kRetired || now <= ends) continue;
    batch->push_back({.key = authority.record_key,
                      .value = std::nullopt,
                      .expected = tables.registry.authorities().at(authority.record_key).revision});
  }
}

}  // namespace

uint64_t NextRotation(const Registry& registry) {
  const auto* row = CurrentRotation(registry);
  return row == nullptr ? 1 : row->record.number() + 1;
}

absl::StatusOr<AuthorityPlan> PlanRotation(const Tables& tables, const v1::RotateRequest& request,
                                           absl::Time now) {
  RETURN_IF_ERROR(CheckRequest(tables, request));
  // Numbers are never used twice, so that no key of an earlier rotation is taken up again.
  const uint64_t number = NextRotation(tables.registry);
  const std::string issuer = absl::StrCat("issuer-", number + 2);
  AuthorityPlan plan{.profile = tables.options.profile,
                     .authorities = {},
                     .root = std::nullopt,
                     .root_key_name = "",
                     .withheld = true};
  if (request.what() == kSigners) return plan;
  const Authority* root = tables.authorities.RootOf(tables.authorities.active());
  const bool of_root = request.what() == kRoot;
  const bool offline = of_root ? tables.options.profile.external_root : IsOffline(*root);
  plan.rotation = number;
  plan.authorities = {
      {.is_root = false, .state = kPrepared, .key_name = issuer, .awaits = offline},
      {.is_root = false, .state = kBackup, .key_name = issuer + "-backup", .awaits = offline}};
  if (of_root) {
    if (offline) return plan;  // the root comes with the certificates that it makes
    plan.authorities.insert(
        plan.authorities.begin(),
        {.is_root = true, .state = kPrepared, .key_name = absl::StrCat("root-", number + 1)});
    return plan;
  }
  RETURN_IF_ERROR(CheckRootLasts(tables.options.profile, *root, now));
  plan.root = root->certificate;
  plan.root_key_name = root->key_name;
  return plan;
}

absl::StatusOr<std::vector<Write>> StartRotation(const Tables& tables,
                                                 const v1::RotateRequest& request,
                                                 const std::string& by, std::vector<Write> made,
                                                 absl::Time now) {
  RETURN_IF_ERROR(CheckRequest(tables, request));  // again: the keys took their time
  Row<state::v1::RotationRecord> row;
  row.record.set_number(NextRotation(tables.registry));
  row.record.set_what(request.what());
  row.record.set_started_by(by);
  row.record.set_started_at(absl::ToUnixSeconds(now));
  row.record.set_on_deadline(request.on_deadline().empty() ? kHold : request.on_deadline());
  v1::RotationStep step = v1::PREPARED;
  if (request.what() == kSigners) step = v1::AWAITING_SIGNATURES_TO_DISTRIBUTE;
  if (AddAwaitedKeys(made, &row.record)) {
    step = v1::AWAITING_CERTIFICATE;
  } else {
    SetKeys(tables, made, &row.record);
  }
  RotationDraft draft(tables, row);
  std::vector<Write> batch = draft.Reach(step, by, "", v1::RotationGate(), now);
  for (Write& write : made) batch.push_back(std::move(write));
  PruneRetired(tables, now, &batch);
  const std::string oldest =
      RotationKey(row.record.number() - std::min(kKept, row.record.number()));
  for (const auto& [key, old] : tables.registry.rotations()) {
    if (key > oldest) break;
    batch.push_back({.key = key, .value = std::nullopt, .expected = old.revision});
  }
  return batch;
}

absl::StatusOr<std::vector<Write>> ContinueRotation(const Tables& tables, const std::string& by,
                                                    std::vector<Write> made, absl::Time now) {
  const auto* row = CurrentRotation(tables.registry);
  if (row == nullptr || row->record.step() != v1::AWAITING_CERTIFICATE) {
    return absl::FailedPreconditionError(
        "no rotation waits for certificates any more; see linchpin rotate status");
  }
  RotationDraft draft(tables, *row);
  SetKeys(tables, made, &draft.rotation);
  std::vector<Write> batch = draft.Reach(v1::PREPARED, by, "", v1::RotationGate(), now);
  for (Write& write : made) batch.push_back(std::move(write));
  return batch;
}

}  // namespace linchpin::ca
