// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A rotation as operators see it.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ca/core/failover.h"
#include "ca/core/offline_root.h"
#include "ca/core/restored.h"
#include "ca/core/rotation.h"
#include "ca/core/rotation_draft.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

using Commands = std::vector<std::string>;

// What a step waits for, and how to go on.
struct Outlook {
  std::string waits_for;
  Commands next;
};

uint64_t NextVersion(const Tables& tables) {
  const auto set = SetInForce(tables.registry);
  return set.has_value() ? set->version() + 1 : 1;
}

Outlook AwaitsSignatures(const Tables& tables, absl::string_view what,
                         const std::string& draft_options) {
  const std::string version = absl::StrCat(NextVersion(tables));
  const std::string file = absl::StrCat("pins-", version, ".json");
  const auto set = SetInForce(tables.registry);
  std::string signers = "its signers";
  if (set.has_value()) {
    signers = absl::StrCat(set->signers().threshold(), " of the ", set->signers().keys_size(),
                           " signers");
  }
  return {absl::StrCat("pin set ", version, ", ", what, ", signed by ", signers),
          {absl::StrCat(draft_options, " --out ", file),
           absl::StrCat("linchpin pins sign --key KEY ", file),
           absl::StrCat("linchpin pins publish ", file)}};
}

Outlook AwaitsCertificates(const v1::Rotation& shown) {
  const bool of_new_root = shown.awaited().empty() || shown.awaited(0).root_sha256().empty();
  return {absl::StrCat(shown.awaited_size(), " certificates by ",
                       of_new_root ? "the new root, which comes with them"
                                   : absl::StrCat("the root ", shown.awaited(0).root_subject()),
                       ", which is kept offline"),
          {"linchpin ca csr --out DIR", "linchpin ca import FILE...", "linchpin rotate abort"}};
}

std::string Missing(const v1::RotationGate& gate) {
  const std::string late = absl::StrCat("trust epoch ", gate.epoch(),
                                        " in force everywhere: ", gate.nodes() - gate.covered(),
                                        " of ", gate.nodes(), " nodes are missing");
  return gate.unknown_until() == 0 ? late : absl::StrCat(late, "; ", UnknownNodes(gate));
}

Outlook OfDistributed(const v1::RotationGate& gate, bool of_signers) {
  const std::string coverage = absl::StrCat("linchpin coverage --epoch ", gate.epoch());
  if (of_signers) return {gate.open() ? "" : Missing(gate), {coverage}};
  if (gate.open()) return {"", {"linchpin rotate activate"}};
  Commands next = {"linchpin rotate activate --wait", coverage};
  if (gate.nodes() > gate.covered()) next.push_back("linchpin rotate activate --except NODE");
  if (gate.unknown_until() > 0) {
    next.push_back(absl::StrCat("linchpin rotate activate --except ", kUnknownNodes));
  }
  return {Missing(gate), std::move(next)};
}

Outlook OfActivated(const Tables& tables, absl::Time until, absl::Time now) {
  if (until <= now) return {"", {"linchpin rotate drain"}};
  std::string unknown = UnknownSentence(tables.registry, now, until);
  if (!unknown.empty()) return {std::move(unknown), {"linchpin rotate drain --wait"}};
  return {absl::StrCat("the last certificate of the old issuer, which ends at ",
                       trust::TimeText(until)),
          {"linchpin rotate drain --wait"}};
}

Outlook OutlookOf(const Tables& tables, const state::v1::RotationRecord& rotation,
                  const v1::Rotation& shown, absl::Time now) {
  const bool of_signers = rotation.what() == kSigners;
  switch (rotation.step()) {
    case v1::AWAITING_CERTIFICATE:
      return AwaitsCertificates(shown);
    case v1::PREPARED:
      return {"", {"linchpin rotate distribute"}};
    case v1::AWAITING_SIGNATURES_TO_DISTRIBUTE:
      if (of_signers) {
        return AwaitsSignatures(tables, "which names the new signers",
                                "linchpin pins draft --signer FILE... --threshold K");
      }
      return AwaitsSignatures(tables, "which names the new keys", "linchpin rotate draft");
    case v1::DISTRIBUTED:
      return OfDistributed(shown.gate(), of_signers);
    case v1::ACTIVATED:
      return OfActivated(tables, absl::FromUnixSeconds(shown.issued_until()), now);
    case v1::DRAINED:
      return {"", {"linchpin rotate drop"}};
    case v1::AWAITING_SIGNATURES_TO_DROP:
      return AwaitsSignatures(tables, "which does not name the old keys", "linchpin rotate draft");
    case v1::AWAITING_SIGNATURES_TO_RESTORE:
      return AwaitsSignatures(tables, "which names the old keys again", "linchpin rotate draft");
    case v1::DROPPED:
      return {Missing(shown.gate()),
              {absl::StrCat("linchpin coverage --epoch ", shown.gate().epoch())}};
    default:
      return {"", {"linchpin rotate prepare --what issuer"}};
  }
}

// The epoch whose coverage the next step waits for; 0: it waits for none.
uint64_t AwaitedEpoch(const state::v1::RotationRecord& rotation) {
  if (rotation.step() == v1::DISTRIBUTED) return rotation.new_epoch();
  return rotation.step() == v1::DROPPED ? rotation.drop_epoch() : 0;
}

void AddPins(const Tables& tables, const google::protobuf::RepeatedPtrField<std::string>& keys,
             google::protobuf::RepeatedPtrField<std::string>* pins) {
  for (const std::string& key : keys) {
    const Authority* authority = tables.authorities.Find(key);
    if (authority != nullptr) pins->Add(authority->certificate.public_key().pin().bytes());
  }
}

// The least of 50, 25 and 10 % that is more than what is left of the issuer's life; 0: none is.
int LessLeftThan(const x509::CertificateFields& fields, absl::Time now) {
  for (const int percent : {10, 25, 50}) {
    if (fields.not_after - now < (fields.not_after - fields.not_before) * percent / 100) {
      return percent;
    }
  }
  return 0;
}

// "less than 25 % of the life of the issuer CN=x is left"; empty: there is time.
std::string LittleLeft(const Authority& issuer, absl::Time now) {
  const x509::CertificateFields& fields = issuer.certificate.fields();
  const int percent = LessLeftThan(fields, now);
  if (percent == 0 || now >= fields.not_after) return "";
  return absl::StrCat("less than ", percent, " % of the life of the issuer ", fields.subject,
                      " is left, it expires at ", trust::TimeText(fields.not_after));
}

std::string NotBegunWarning(const Tables& tables, absl::Time now) {
  const std::string left = LittleLeft(tables.authorities.active(), now);
  if (left.empty()) return "";
  return absl::StrCat(left, ", and no rotation has begun: linchpin rotate prepare --what issuer");
}

// Nothing proceeds by itself here, whatever on_deadline says, and people may take days.
std::string AwaitingWarning(const Tables& tables, const state::v1::RotationRecord& rotation,
                            absl::Time now) {
  const std::string left = LittleLeft(tables.authorities.active(), now);
  if (left.empty()) return "";
  return absl::StrCat(left, ", and its rotation waits for certificates since ",
                      trust::TimeText(absl::FromUnixSeconds(rotation.started_at())),
                      "; it cannot proceed without them: linchpin ca csr, then linchpin ca import "
                      "FILE...");
}

bool OldStillSigns(v1::RotationStep step) {
  return step == v1::PREPARED || step == v1::AWAITING_SIGNATURES_TO_DISTRIBUTE ||
         step == v1::DISTRIBUTED;
}

}  // namespace

const Authority* IssuerBeforeDrain(const Registry& registry, const Authorities& authorities) {
  const auto* row = CurrentRotation(registry);
  if (row == nullptr || row->record.step() != v1::ACTIVATED) return nullptr;
  return SignerAmong(authorities, row->record.old_keys());
}

bool IsLeaving(const Registry& registry, const Authority& authority) {
  const auto* row = CurrentRotation(registry);
  if (row == nullptr) return false;
  const state::v1::RotationRecord& rotation = row->record;
  if (rotation.step() != v1::AWAITING_SIGNATURES_TO_DROP && rotation.step() != v1::DROPPED) {
    return false;
  }
  const auto& keys = rotation.old_keys();
  return std::find(keys.begin(), keys.end(), authority.record_key) != keys.end();
}

std::string RotationWarning(const Tables& tables, absl::Time now) {
  const auto* row = CurrentRotation(tables.registry);
  if (row == nullptr || IsOver(row->record)) return NotBegunWarning(tables, now);
  if (row->record.step() == v1::AWAITING_CERTIFICATE) {
    return AwaitingWarning(tables, row->record, now);
  }
  const Authority* old = SignerAmong(tables.authorities, row->record.old_keys());
  if (!OldStillSigns(row->record.step()) || old == nullptr) {
    const std::string left = LittleLeft(tables.authorities.active(), now);
    if (left.empty()) return "";
    return absl::StrCat(left, ", and ", NameOf(row->record), " is only ",
                        StepName(row->record.step()),
                        "; end it, and begin another: linchpin rotate status says how");
  }
  const int percent = LessLeftThan(old->certificate.fields(), now);
  if (percent == 0) return "";
  const absl::Time deadline = absl::FromUnixSeconds(row->record.deadline());
  std::string then = "certificates get shorter from then on, and the gate stays as it is (hold)";
  if (row->record.on_deadline() == kProceed) {
    then = row->record.step() == v1::DISTRIBUTED
               ? "the new issuer is then activated without those who are missing (proceed)"
               : "the new keys are not distributed, so it cannot proceed";
  }
  return absl::StrCat("less than ", percent, " % of the life of the issuer ",
                      old->certificate.fields().subject, " is left and its rotation is only ",
                      StepName(row->record.step()), "; the deadline is ", trust::TimeText(deadline),
                      ": ", then, ". See linchpin rotate status");
}

v1::Rotation DescribeRotation(const Tables& tables, absl::Time now) {
  v1::Rotation shown;
  const auto* row = CurrentRotation(tables.registry);
  const state::v1::RotationRecord none;
  const state::v1::RotationRecord& rotation = row == nullptr ? none : row->record;
  shown.set_number(rotation.number());
  shown.set_what(rotation.what());
  shown.set_step(rotation.step());
  shown.set_started_by(rotation.started_by());
  shown.set_started_at(rotation.started_at());
  shown.set_on_deadline(rotation.on_deadline());
  *shown.mutable_except() = rotation.except();
  *shown.mutable_history() = rotation.history();
  AddPins(tables, rotation.new_keys(), shown.mutable_new_pins());
  AddPins(tables, rotation.old_keys(), shown.mutable_old_pins());
  if (rotation.step() == v1::AWAITING_CERTIFICATE) {
    const v1::AwaitedList awaited = DescribeAwaited(tables);
    for (const v1::AwaitedCertificate& one : awaited.certificates()) {
      if (one.purpose() == kForRotation) *shown.add_awaited() = one;
    }
  }
  const uint64_t epoch = AwaitedEpoch(rotation);
  if (epoch > 0) *shown.mutable_gate() = GateOf(tables, rotation, epoch, now);
  const Authority* old = SignerAmong(tables.authorities, rotation.old_keys());
  if (old != nullptr && !IsOver(rotation)) {
    shown.set_deadline(rotation.deadline());
    const absl::Time until = std::max(LastIssued(tables, rotation.old_keys()),
                                      absl::FromUnixSeconds(rotation.issued_until()));
    if (rotation.step() >= v1::ACTIVATED) shown.set_issued_until(absl::ToUnixSeconds(until));
  }
  *shown.mutable_backups() = DescribeBackups(tables, now);
  Outlook outlook = OutlookOf(tables, rotation, shown, now);
  std::string warning = RotationWarning(tables, now);
  if (!warning.empty()) shown.add_warnings(std::move(warning));
  shown.set_waits_for(std::move(outlook.waits_for));
  for (std::string& command : outlook.next) shown.add_next(std::move(command));
  return shown;
}

}  // namespace linchpin::ca
