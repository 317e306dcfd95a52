// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/rotation_draft.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ca/core/coverage_gate.h"
#include "ca/core/restored.h"
#include "trust/pin_set.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

constexpr absl::Duration kGrace = absl::Hours(1);
constexpr int kMaxHistory = 32;
constexpr int kMostKept = 64;  // names of nodes of each kind, in an entry of the history
constexpr size_t kMostOfWhy = 200;
// Far below what a value of the store may have, so that no node's words stand in a step's way.
constexpr size_t kMostOfHistory = 256 << 10;

using Keys = google::protobuf::RepeatedPtrField<std::string>;

template <typename Entries>
bool HasPin(const Entries& entries, const Authority& authority) {
  const std::string pin = authority.certificate.public_key().pin().bytes();
  return std::any_of(entries.begin(), entries.end(),
                     [&](const auto& entry) { return entry.spki_sha256() == pin; });
}

// Does the set let nodes take paths with this key? Where issuers are not pinned, its root does.
bool Names(const trust::v1::PinSet& set, const Authority& authority) {
  if (authority.is_root) return HasPin(set.anchors(), authority);
  return set.any_under_anchor() || HasPin(set.issuers(), authority);
}

template <typename List>
void Shorten(List* list) {
  if (list->size() > kMostKept) list->DeleteSubrange(kMostKept, list->size() - kMostKept);
}

void Shorten(v1::RotationGate* gate) {
  Shorten(gate->mutable_late());
  Shorten(gate->mutable_excepted());
  Shorten(gate->mutable_lapsed());
  for (v1::LateNode& late : *gate->mutable_late()) {
    late.set_why(std::string(trust::Beginning(late.why(), kMostOfWhy)));
  }
}

}  // namespace

state::v1::AuthorityRecord* RotationDraft::Edit(const std::string& record_key) {
  const auto it = edited_.find(record_key);
  if (it != edited_.end()) return &it->second;
  const auto row = tables_.registry.authorities().find(record_key);
  if (row == tables_.registry.authorities().end()) return nullptr;
  return &edited_.emplace(record_key, row->second.record).first->second;
}

void RotationDraft::SetState(const std::string& record_key, absl::string_view state) {
  if (auto* record = Edit(record_key)) record->set_state(std::string(state));
}

void RotationDraft::Replace(const std::string& record_key, absl::Time from, absl::Time until) {
  state::v1::AuthorityRecord* record = Edit(record_key);
  if (record == nullptr) return;
  record->set_replace_from(absl::ToUnixSeconds(from));
  record->set_replace_until(absl::ToUnixSeconds(until));
}

void RotationDraft::SetWithheld(const Keys& record_keys, bool withheld) {
  for (const std::string& key : record_keys) {
    if (auto* record = Edit(key)) record->set_withheld(withheld);
  }
}

uint64_t RotationDraft::RaiseEpoch() {
  epoch_ = tables_.registry.trust().record.epoch() + 1;
  raises_epoch_ = true;
  return epoch_;
}

std::vector<Write> RotationDraft::Reach(v1::RotationStep step, const std::string& by,
                                        const std::string& note, const v1::RotationGate& gate,
                                        absl::Time now) {
  rotation.set_step(step);
  v1::RotationEvent* event = rotation.add_history();
  event->set_step(step);
  event->set_at(absl::ToUnixSeconds(now));
  event->set_by(by);
  event->set_epoch(epoch_ > 0 ? epoch_ : tables_.registry.trust().record.epoch());
  event->set_note(note);
  *event->mutable_gate() = gate;
  if (gate.epoch() == 0) {  // the step has none: what was in force until now
    *event->mutable_gate() =
        GateOf(tables_, rotation, tables_.registry.trust().record.epoch(), now);
  }
  Shorten(event->mutable_gate());
  while (rotation.history_size() > kMaxHistory ||
         (rotation.history_size() > 1 && rotation.ByteSizeLong() > kMostOfHistory)) {
    rotation.mutable_history()->DeleteSubrange(0, 1);
  }

  std::vector<Write> batch;
  batch.push_back({.key = RotationKey(rotation.number()),
                   .value = rotation.SerializeAsString(),
                   .expected = before_.revision});
  for (auto& [key, record] : edited_) {
    const bool was_withheld = tables_.registry.authorities().at(key).record.withheld();
    if (was_withheld && !record.withheld()) record.set_trusted_from(epoch_);
    if (record.withheld()) record.clear_trusted_from();
    batch.push_back({.key = key,
                     .value = record.SerializeAsString(),
                     .expected = tables_.registry.authorities().at(key).revision});
  }
  if (raises_epoch_) {
    state::v1::TrustRecord trust = tables_.registry.trust().record;
    trust.set_epoch(epoch_);
    batch.push_back({.key = kTrustKey,
                     .value = trust.SerializeAsString(),
                     .expected = tables_.registry.trust().revision});
  }
  return batch;
}

bool NamesAll(const trust::v1::PinSet& set, const Authorities& authorities, const Keys& keys) {
  return std::all_of(keys.begin(), keys.end(), [&](const std::string& key) {
    const Authority* authority = authorities.Find(key);
    return authority == nullptr || Names(set, *authority);
  });
}

bool NamesAny(const trust::v1::PinSet& set, const Authorities& authorities, const Keys& keys) {
  return std::any_of(keys.begin(), keys.end(), [&](const std::string& key) {
    const Authority* authority = authorities.Find(key);
    if (authority == nullptr) return false;
    return authority->is_root ? HasPin(set.anchors(), *authority)
                              : HasPin(set.issuers(), *authority);
  });
}

std::optional<trust::v1::PinSet> SetInForce(const Registry& registry) {
  const auto& sets = registry.trust().record.pin_sets();
  if (sets.empty()) return std::nullopt;
  trust::v1::PinSet set;
  set.ParseFromString(sets.rbegin()->payload());
  return set;
}

absl::Time LastIssued(const Tables& tables, const Keys& record_keys) {
  absl::Time last = absl::InfinitePast();
  for (const std::string& key : record_keys) {
    const Authority* authority = tables.authorities.Find(key);
    if (authority == nullptr || authority->is_root) continue;
    const std::string pin = authority->certificate.public_key().pin().bytes();
    last = std::max(last, tables.outstanding.UnderIssuer(pin));
    const state::v1::AuthorityRecord& record = tables.registry.authorities().at(key).record;
    if (record.created_at() > tables.registry.meta().restored_at()) continue;
    last =
        std::max(last, UnknownUntil(tables.registry));  // it may have signed what nobody knows of
  }
  return last + std::min(kClocksDiffer, tables.options.profile.leaf_ttl);
}

absl::Time DeadlineFor(const Profile& profile, const Authority& issuer) {
  const x509::CertificateFields& fields = issuer.certificate.fields();
  return std::max(fields.not_after - std::max(profile.node_ttl, profile.leaf_ttl),
                  fields.not_before + (fields.not_after - fields.not_before) / 2);
}

absl::Time ProceedsAt(const Profile& profile, const state::v1::RotationRecord& rotation) {
  if (rotation.deadline() == 0) return absl::InfiniteFuture();
  const absl::Duration grace = std::min(profile.node_ttl, kGrace);
  return std::max(absl::FromUnixSeconds(rotation.deadline()),
                  absl::FromUnixSeconds(rotation.distributed_at()) + grace);
}

const Authority* SignerAmong(const Authorities& authorities, const Keys& record_keys) {
  for (const std::string& key : record_keys) {
    const Authority* authority = authorities.Find(key);
    if (authority != nullptr && !authority->is_root && authority->state != kBackup) {
      return authority;
    }
  }
  return nullptr;
}

std::string NameOf(const state::v1::RotationRecord& rotation) {
  if (rotation.what() == kFailover) return "the failover";
  return absl::StrCat("the rotation of the ", rotation.what());
}

absl::string_view StepName(v1::RotationStep step) {
  switch (step) {
    case v1::AWAITING_CERTIFICATE:
      return "awaiting_certificate";
    case v1::PREPARED:
      return "prepared";
    case v1::AWAITING_SIGNATURES_TO_DISTRIBUTE:
      return "awaiting_signatures (to distribute)";
    case v1::DISTRIBUTED:
      return "distributed";
    case v1::ACTIVATED:
      return "activated";
    case v1::DRAINED:
      return "drained";
    case v1::AWAITING_SIGNATURES_TO_DROP:
      return "awaiting_signatures (to drop)";
    case v1::DROPPED:
      return "dropped";
    case v1::AWAITING_SIGNATURES_TO_RESTORE:
      return "awaiting_signatures (to restore)";
    case v1::DONE:
      return "done";
    case v1::ABORTED:
      return "aborted";
    default:
      return "no rotation";
  }
}

}  // namespace linchpin::ca
