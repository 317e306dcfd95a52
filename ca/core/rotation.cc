// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/rotation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "ca/core/change_log.h"
#include "ca/core/offline_root.h"
#include "ca/core/restored.h"
#include "ca/core/rotation_draft.h"
#include "trust/spiffe_id.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

const auto& kNoGate = *new v1::RotationGate;
const auto& kUnasked = *new std::string(kItself);

absl::Status NotItsTurn(absl::string_view asked, const state::v1::RotationRecord& rotation) {
  if (rotation.what() == kSigners) {
    return absl::FailedPreconditionError(absl::StrCat(
        "signers change by a pin set, not by rotate ", asked, ": ",
        rotation.step() == v1::DISTRIBUTED
            ? "it is published, and this ends by itself when every node has it (linchpin coverage)"
            : "linchpin pins draft --signer FILE... --threshold K --out FILE, then pins sign with "
              "enough keys of the old signers and of the new, then pins publish FILE"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat("rotate ", asked, " does not follow: ", NameOf(rotation), " is ",
                   StepName(rotation.step()), "; see linchpin rotate status"));
}

absl::Status NotDrained(const Tables& tables, const Authority& issuer, absl::Time until,
                        absl::Time now) {
  const std::string unknown = UnknownSentence(tables.registry, now, until);
  if (!unknown.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the gate is closed: ", unknown, ". Wait (--wait)"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat("the gate is closed: certificates of ", issuer.certificate.fields().subject,
                   " are valid until ", trust::TimeText(until), ", in ",
                   absl::FormatDuration(absl::Ceil(until - now, absl::Seconds(1))),
                   "; what is renewed meanwhile comes from the active issuer. Wait (--wait)"));
}

absl::Status IssuerGone() {
  return absl::FailedPreconditionError(
      "the record of the issuer is gone, so nobody knows what it has made; restore the store from "
      "a backup");
}

// When nothing is valid any more that an issuer of the old keys has made.
absl::Time OldEnds(const Tables& tables, const state::v1::RotationRecord& rotation) {
  return std::max(LastIssued(tables, rotation.old_keys()),
                  absl::FromUnixSeconds(rotation.issued_until()));
}

// The first issuer of `comes` signs from now on, the one of `goes` does no more and is in
// `gone_state`.
void Exchange(const google::protobuf::RepeatedPtrField<std::string>& comes,
              const google::protobuf::RepeatedPtrField<std::string>& goes,
              absl::string_view gone_state, RotationDraft* draft) {
  for (const std::string& key : goes) {
    const Authority* authority = draft->Find(key);
    if (authority != nullptr && authority->state == kActive) draft->SetState(key, gone_state);
  }
  bool has_signer = false;
  for (const std::string& key : comes) {
    const Authority* authority = draft->Find(key);
    if (authority == nullptr || authority->state == kBackup) continue;
    if (!authority->is_root && std::exchange(has_signer, true)) continue;
    draft->SetState(key, kActive);
  }
}

using RotationRow = Row<state::v1::RotationRecord>;
using Batch = absl::StatusOr<std::vector<Write>>;

struct Deciding {
  const Tables& tables;
  const RotationRow& row;
  const std::string& by;
  absl::Time now;
};

Batch Distribute(const Deciding& on, RotationDraft draft) {
  if (on.row.record.step() != v1::PREPARED) return NotItsTurn("distribute", on.row.record);
  const auto set = SetInForce(on.tables.registry);
  if (set.has_value() && !NamesAll(*set, on.tables.authorities, on.row.record.new_keys())) {
    return draft.Reach(v1::AWAITING_SIGNATURES_TO_DISTRIBUTE, on.by, "", kNoGate, on.now);
  }
  draft.SetWithheld(on.row.record.new_keys(), false);
  draft.rotation.set_new_epoch(draft.RaiseEpoch());
  draft.rotation.set_distributed_at(absl::ToUnixSeconds(on.now));
  return draft.Reach(v1::DISTRIBUTED, on.by, "", kNoGate, on.now);
}

std::vector<Write> Activated(const Deciding& on, RotationDraft draft, const std::string& note,
                             const v1::RotationGate& gate) {
  const state::v1::RotationRecord& before = on.row.record;
  Exchange(before.new_keys(), before.old_keys(), kRetiring, &draft);
  const absl::Time until = OldEnds(on.tables, before);
  if (until > on.now) draft.rotation.set_issued_until(absl::ToUnixSeconds(until));
  return draft.Reach(v1::ACTIVATED, on.by, note, gate, on.now);
}

Batch Activate(const Deciding& on, RotationDraft draft) {
  const state::v1::RotationRecord& before = on.row.record;
  if (before.step() != v1::DISTRIBUTED || before.what() == kSigners) {
    return NotItsTurn("activate", before);
  }
  const v1::RotationGate gate = GateOf(on.tables, draft.rotation, before.new_epoch(), on.now);
  if (!gate.open()) return GateClosed("linchpin rotate activate", gate);
  const Authority* issuer = SignerAmong(on.tables.authorities, before.new_keys());
  if (issuer == nullptr || issuer->certificate.fields().not_after <= on.now) {
    return absl::FailedPreconditionError(
        "the prepared issuer has expired; linchpin rotate abort, and prepare another");
  }
  if (IsDenied(on.tables.registry, *issuer)) {
    return absl::FailedPreconditionError(
        "the prepared issuer's key is revoked, so everybody would refuse what it signs; linchpin "
        "rotate abort, and prepare another");
  }
  const auto set = SetInForce(on.tables.registry);
  if (set.has_value() && !NamesAll(*set, on.tables.authorities, before.new_keys())) {
    return absl::FailedPreconditionError(
        absl::StrCat("pin set version ", set->version(),
                     " does not name the new keys any more; linchpin rotate abort, then distribute "
                     "them again"));
  }
  return Activated(on, std::move(draft), "", gate);
}

Batch Drain(const Deciding& on, RotationDraft draft) {
  const state::v1::RotationRecord& before = on.row.record;
  if (before.step() != v1::ACTIVATED) return NotItsTurn("drain", before);
  const Authority* issuer = SignerAmong(on.tables.authorities, before.old_keys());
  const absl::Time until = OldEnds(on.tables, before);
  if (issuer == nullptr) return IssuerGone();
  if (until > on.now) return NotDrained(on.tables, *issuer, until, on.now);
  return draft.Reach(v1::DRAINED, on.by, "", kNoGate, on.now);
}

Batch Drop(const Deciding& on, RotationDraft draft) {
  const state::v1::RotationRecord& before = on.row.record;
  if (before.step() != v1::DRAINED) return NotItsTurn("drop", before);
  const auto set = SetInForce(on.tables.registry);
  if (set.has_value() && NamesAny(*set, on.tables.authorities, before.old_keys())) {
    return draft.Reach(v1::AWAITING_SIGNATURES_TO_DROP, on.by, "", kNoGate, on.now);
  }
  draft.SetWithheld(before.old_keys(), true);
  draft.rotation.set_drop_epoch(draft.RaiseEpoch());
  return draft.Reach(v1::DROPPED, on.by, "", kNoGate, on.now);
}

absl::Status OldIsDenied() {
  return absl::FailedPreconditionError(
      "the old issuer's key is revoked, so everybody would refuse what it signs; go on: linchpin "
      "rotate drain");
}

// As if it had not been: there is no step before it.
Batch TakeBackFailover(const Deciding& on, RotationDraft draft) {
  const state::v1::RotationRecord& before = on.row.record;
  const Authority* old = SignerAmong(on.tables.authorities, before.old_keys());
  if (old == nullptr || old->certificate.fields().not_after <= on.now ||
      on.tables.keys.count(old->key_name) == 0) {
    return absl::FailedPreconditionError(
        "the old issuer has expired or its key is not here, so it cannot sign again; go on: "
        "linchpin rotate drain");
  }
  if (IsDenied(on.tables.registry, *old)) return OldIsDenied();
  draft.SetState(old->record_key, kActive);
  if (const Authority* root = on.tables.authorities.RootOf(*old)) {
    draft.SetState(root->record_key, kActive);
  }
  for (const std::string& key : before.new_keys()) draft.SetState(key, kBackup);
  draft.RaiseEpoch();  // or nodes would go on renewing what the old issuer makes
  return draft.Reach(v1::ABORTED, on.by,
                     "taken back: the old issuer signs again; the backup's key is beside the CA",
                     kNoGate, on.now);
}

// The old issuer signs again. Nodes may have stopped to trust it in between.
Batch TakeBackActivate(const Deciding& on, RotationDraft draft) {
  const state::v1::RotationRecord& before = on.row.record;
  v1::RotationGate gate;
  if (before.old_epoch() > 0) {
    gate = GateOf(on.tables, draft.rotation, before.old_epoch(), on.now);
    if (!gate.open()) return GateClosed("linchpin rotate abort", gate);
  }
  const Authority* old = SignerAmong(on.tables.authorities, before.old_keys());
  if (old == nullptr || old->certificate.fields().not_after <= on.now) {
    return absl::FailedPreconditionError(
        "the old issuer has expired, so it cannot sign again; go on: linchpin rotate drain");
  }
  if (IsDenied(on.tables.registry, *old)) return OldIsDenied();
  Exchange(before.old_keys(), before.new_keys(), kPrepared, &draft);
  if (before.what() == kFailover) draft.RaiseEpoch();  // as TakeBackFailover
  draft.rotation.set_on_deadline(kHold);  // or what was just taken back would be done again
  return draft.Reach(v1::DISTRIBUTED, on.by,
                     "taken back: the old issuer signs again; on_deadline is hold", gate, on.now);
}

Batch TakeBackDistribute(const Deciding& on, RotationDraft draft) {
  const state::v1::RotationRecord& before = on.row.record;
  const Authority* issuer = SignerAmong(on.tables.authorities, before.new_keys());
  const absl::Time until = LastIssued(on.tables, before.new_keys());
  if (issuer == nullptr) return IssuerGone();
  if (until > on.now) return NotDrained(on.tables, *issuer, until, on.now);
  draft.SetWithheld(before.new_keys(), true);
  draft.RaiseEpoch();
  return draft.Reach(v1::PREPARED, on.by, "taken back: the new keys are not declared any more",
                     kNoGate, on.now);
}

Batch TakeBackDrop(const Deciding& on, RotationDraft draft) {
  const state::v1::RotationRecord& before = on.row.record;
  const auto set = SetInForce(on.tables.registry);
  if (set.has_value() && !NamesAll(*set, on.tables.authorities, before.old_keys())) {
    return draft.Reach(v1::AWAITING_SIGNATURES_TO_RESTORE, on.by, "", kNoGate, on.now);
  }
  draft.SetWithheld(before.old_keys(), false);
  draft.rotation.set_old_epoch(draft.RaiseEpoch());
  return draft.Reach(v1::DRAINED, on.by, "taken back: the old keys are trusted again", kNoGate,
                     on.now);
}

// The keys that were made for it are given up.
Batch AbortAwaiting(const Deciding& on, RotationDraft draft) {
  std::vector<Write> batch = draft.Reach(v1::ABORTED, on.by, "", kNoGate, on.now);
  DropAwaited(on.tables.registry.awaited(), on.row.record.number(), &batch);
  return batch;
}

Batch Abort(const Deciding& on, RotationDraft draft) {
  const state::v1::RotationRecord& before = on.row.record;
  switch (before.step()) {
    case v1::AWAITING_CERTIFICATE:
      return AbortAwaiting(on, std::move(draft));
    case v1::PREPARED:
    case v1::AWAITING_SIGNATURES_TO_DISTRIBUTE:
      for (const std::string& key : before.new_keys()) draft.SetState(key, kRetired);
      return draft.Reach(v1::ABORTED, on.by, "", kNoGate, on.now);
    case v1::DISTRIBUTED:
      if (before.what() == kSigners) break;
      return TakeBackDistribute(on, std::move(draft));
    case v1::ACTIVATED:
      if (before.what() == kFailover && before.old_epoch() == 0) {
        return TakeBackFailover(on, std::move(draft));
      }
      return TakeBackActivate(on, std::move(draft));
    case v1::DRAINED:
      return draft.Reach(v1::ACTIVATED, on.by, "taken back", kNoGate, on.now);
    case v1::AWAITING_SIGNATURES_TO_DROP:
      return draft.Reach(v1::DRAINED, on.by, "taken back: nothing was dropped", kNoGate, on.now);
    case v1::DROPPED:
      return TakeBackDrop(on, std::move(draft));
    case v1::AWAITING_SIGNATURES_TO_RESTORE:
      return draft.Reach(v1::DROPPED, on.by, "the old keys stay dropped", kNoGate, on.now);
    default:
      break;
  }
  return absl::FailedPreconditionError(absl::StrCat(
      NameOf(before), " is ", StepName(before.step()),
      ": what is in force everywhere is taken back by another one (linchpin rotate prepare)"));
}

// While it still waits.
Batch SetOnDeadline(const Deciding& on, const std::string& then, RotationDraft draft) {
  if (then != kHold && then != kProceed) {
    return absl::InvalidArgumentError(
        "which step? prepare, distribute, activate, drain, drop or abort is expected, or hold or "
        "proceed for its deadline");
  }
  const state::v1::RotationRecord& before = on.row.record;
  const bool waits = before.step() < v1::ACTIVATED || before.step() == v1::AWAITING_CERTIFICATE;
  if (before.what() == kSigners || !waits) {
    return absl::FailedPreconditionError(
        absl::StrCat(NameOf(before), " is ", StepName(before.step()),
                     ", which waits for no deadline; see linchpin rotate status"));
  }
  draft.rotation.set_on_deadline(then);
  return draft.Reach(before.step(), on.by, absl::StrCat("on_deadline is ", then, " from now on"),
                     kNoGate, on.now);
}

}  // namespace

std::string RotationKey(uint64_t number) { return absl::StrFormat("rotation/%08d", number); }

const Row<state::v1::RotationRecord>* CurrentRotation(const Registry& registry) {
  return registry.rotations().empty() ? nullptr : &registry.rotations().rbegin()->second;
}

bool IsOver(const state::v1::RotationRecord& rotation) {
  return rotation.step() == v1::DONE || rotation.step() == v1::ABORTED;
}

absl::StatusOr<std::vector<Write>> DecideRotation(const Tables& tables,
                                                  const v1::RotateRequest& request,
                                                  const std::string& by, absl::Time now) {
  const RotationRow* row = CurrentRotation(tables.registry);
  if (row == nullptr || IsOver(row->record)) {
    return absl::FailedPreconditionError(
        "no rotation is under way; begin with linchpin rotate prepare --what issuer");
  }
  const Deciding on{tables, *row, by, now};
  RotationDraft draft(tables, *row);
  RETURN_IF_ERROR(AddExcept(tables, request.except(), &draft.rotation));
  switch (request.action()) {
    case v1::RotateRequest::ACTION_UNSPECIFIED:
      return SetOnDeadline(on, request.on_deadline(), std::move(draft));
    case v1::RotateRequest::DISTRIBUTE:
      return Distribute(on, std::move(draft));
    case v1::RotateRequest::ACTIVATE:
      return Activate(on, std::move(draft));
    case v1::RotateRequest::DRAIN:
      return Drain(on, std::move(draft));
    case v1::RotateRequest::DROP:
      return Drop(on, std::move(draft));
    case v1::RotateRequest::ABORT:
      return Abort(on, std::move(draft));
    default:
      return absl::InvalidArgumentError("prepare begins a rotation; one is under way");
  }
}

PublishedMove MoveOfPublished(const Tables& tables, const trust::v1::PinSet& set,
                              const std::string& publisher, absl::Time now) {
  const uint64_t epoch = tables.registry.trust().record.epoch() + 1;
  PublishedMove move;
  const RotationRow* row = CurrentRotation(tables.registry);
  if (row == nullptr || IsOver(row->record)) return move;
  const state::v1::RotationRecord& before = row->record;
  RotationDraft draft(tables, *row);
  draft.AtEpoch(epoch);
  const std::string by = absl::StrCat(publisher, ", by pin set version ", set.version());
  const v1::RotationStep step = before.step();
  if (step == v1::PREPARED || step == v1::AWAITING_SIGNATURES_TO_DISTRIBUTE) {
    if (before.what() == kSigners) {
      const auto held = SetInForce(tables.registry);
      if (held.has_value() &&
          held->signers().SerializeAsString() == set.signers().SerializeAsString()) {
        return move;
      }
    } else if (!NamesAll(set, tables.authorities, before.new_keys())) {
      return move;
    }
    draft.SetWithheld(before.new_keys(), false);
    draft.rotation.set_new_epoch(epoch);
    draft.rotation.set_distributed_at(absl::ToUnixSeconds(now));
    move.writes = draft.Reach(v1::DISTRIBUTED, by, "", kNoGate, now);
  } else if (step == v1::AWAITING_SIGNATURES_TO_DROP) {
    if (NamesAny(set, tables.authorities, before.old_keys())) return move;
    move.leaving = {before.old_keys().begin(), before.old_keys().end()};
    draft.SetWithheld(before.old_keys(), true);
    draft.rotation.set_drop_epoch(epoch);
    move.writes = draft.Reach(v1::DROPPED, by, "", kNoGate, now);
  } else if (step == v1::AWAITING_SIGNATURES_TO_RESTORE) {
    if (!NamesAll(set, tables.authorities, before.old_keys())) return move;
    draft.SetWithheld(before.old_keys(), false);
    draft.rotation.set_old_epoch(epoch);
    move.writes =
        draft.Reach(v1::DRAINED, by, "taken back: the old keys are trusted again", kNoGate, now);
  }
  return move;
}

std::vector<Write> RotationDue(const Tables& tables, absl::Time now) {
  const RotationRow* row = CurrentRotation(tables.registry);
  if (row == nullptr || IsOver(row->record)) return {};
  const state::v1::RotationRecord& before = row->record;
  RotationDraft draft(tables, *row);
  const bool of_signers = before.what() == kSigners && before.step() == v1::DISTRIBUTED;
  if (before.step() == v1::DROPPED || of_signers) {
    const uint64_t epoch = of_signers ? before.new_epoch() : before.drop_epoch();
    if (!MayBeOpen(tables, before, epoch, now)) return {};
    const v1::RotationGate gate = GateOf(tables, before, epoch, now);
    if (!gate.open()) return {};
    for (const std::string& key : before.old_keys()) draft.SetState(key, kRetired);
    return draft.Reach(v1::DONE, kItself, "", gate, now);
  }
  if (before.step() != v1::DISTRIBUTED || before.on_deadline() != kProceed) return {};
  const Authority* old = SignerAmong(tables.authorities, before.old_keys());
  if (old == nullptr || now < ProceedsAt(tables.options.profile, before)) return {};
  return Activated({tables, *row, kUnasked, now}, std::move(draft),
                   "the deadline has come, and on_deadline is proceed",
                   GateOf(tables, before, before.new_epoch(), now));
}

}  // namespace linchpin::ca
