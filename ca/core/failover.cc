// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/failover.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/backups.h"
#include "ca/core/coverage_gate.h"
#include "ca/core/offline_root.h"
#include "ca/core/restored.h"
#include "ca/core/rotation.h"
#include "ca/core/rotation_draft.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

using Names = std::vector<std::string>;
constexpr int64_t kNodesPerSecond = 20;
constexpr absl::Duration kLeastWindow = absl::Seconds(2);
constexpr absl::Duration kUnderWay = absl::Seconds(2);

std::string NameAndPin(const Authority& authority) {
  return absl::StrCat(authority.certificate.fields().subject, " (",
                      authority.certificate.public_key().pin().ToString(), ")");
}

Names Backups(const Tables& tables) {
  Names names;
  for (const Authority& authority : tables.authorities.all()) {
    if (!authority.is_root && authority.state == kBackup) names.push_back(NameAndPin(authority));
  }
  return names;
}

// What is expected instead.
std::string WhichIs(const Tables& tables) {
  const Names names = Backups(tables);
  if (names.empty()) return "there is no backup issuer: linchpin ca backup create --out FILE";
  std::string text = names.size() == 1 ? "the backup issuer is " : "the backup issuers are ";
  for (const std::string& name : names) {
    absl::StrAppend(&text, &name == &names.front() ? "" : ", ", name);
  }
  return absl::StrCat(text, ": give its key (linchpin failover --check)");
}

absl::Status NotTheBackup(const Tables& tables, const x509::PublicKey& key) {
  std::string whose = "of nothing that this CA knows";
  for (const Authority& authority : tables.authorities.all()) {
    if (!(authority.certificate.public_key() == key)) continue;
    whose = absl::StrCat("of the ", authority.state, " ", authority.is_root ? "root " : "issuer ",
                         authority.certificate.fields().subject);
    if (authority.state == kActive && !authority.is_root) {
      absl::StrAppend(&whose, ", which signs already (linchpin rotate status)");
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the key ", key.pin().ToString(), " is that ", whose, "; ", WhichIs(tables)));
}

absl::StatusOr<const Authority*> TheBackup(const Tables& tables, const Failover& asked) {
  if (asked.key.has_value()) {
    const x509::PublicKey& key = asked.key->public_key();
    const Authority* found = FindBackup(tables.authorities, key.pin().bytes());
    if (found == nullptr) return NotTheBackup(tables, key);
    return found;
  }
  const Authority* found = nullptr;
  for (const Authority& authority : tables.authorities.all()) {
    if (authority.is_root || authority.state != kBackup || authority.withheld) continue;
    if (tables.keys.count(authority.key_name) == 0) continue;
    if (found == nullptr ||
        found->certificate.fields().not_after < authority.certificate.fields().not_after) {
      found = &authority;
    }
  }
  if (found != nullptr) return found;
  return absl::FailedPreconditionError(
      absl::StrCat("the CA has no backup issuer's key of its own: linchpin failover --key FILE; ",
                   WhichIs(tables)));
}

// Why it cannot take over, whatever nodes have; empty if it can.
std::string HindranceOf(const Tables& tables, const Authority& backup, absl::Time now) {
  const x509::CertificateFields& fields = backup.certificate.fields();
  if (now >= fields.not_after) {
    return absl::StrCat("it expired at ", trust::TimeText(fields.not_after),
                        ": linchpin ca backup create --out FILE makes another one");
  }
  if (IsDenied(tables.registry, backup)) {
    return "its key is revoked: linchpin ca backup create --out FILE makes another one";
  }
  const Authority* root = tables.authorities.RootOf(backup);
  if (root == nullptr || root->withheld) return "its root is not trusted by the nodes";
  google::protobuf::RepeatedPtrField<std::string> keys;
  *keys.Add() = backup.record_key;
  *keys.Add() = root->record_key;
  const auto set = SetInForce(tables.registry);
  const bool is_named = !set.has_value() || NamesAll(*set, tables.authorities, keys);
  if (is_named && !backup.withheld) return "";
  if (!set.has_value()) {
    return "the nodes were not told of it yet: run linchpin ca backup create again, or "
           "linchpin rotate distribute";
  }
  return absl::StrCat("pin set version ", set->version(),
                      ", which is in force, does not name it: linchpin pins draft --out FILE, pins "
                      "sign, pins publish");
}

uint64_t TrustedFrom(const Tables& tables, const Authority& backup) {
  const uint64_t from = tables.registry.authorities().at(backup.record_key).record.trusted_from();
  return from > 0 ? from : tables.registry.trust().record.epoch();
}

// Why nodes would refuse what this backup signs, by node id, for those that are waited for and have
// said so of its canary.
std::map<std::string, std::string> Refusing(const Tables& tables, const Authority& backup,
                                            absl::Time now) {
  const CoverageView view{tables.registry, tables.coverage, tables.outstanding};
  const std::string pin = backup.certificate.public_key().pin().bytes();
  std::map<std::string, std::string> refusing;
  for (const auto& [node_id, holds] : tables.coverage.nodes()) {
    const auto judged = holds.canaries.find(pin);
    if (judged == holds.canaries.end() || judged->second.empty()) continue;
    const auto* row = tables.registry.FindNode(node_id);
    if (row == nullptr || row->record.state() != "attested") continue;
    if (Counts(view, row->record, now)) refusing.emplace(node_id, judged->second);
  }
  return refusing;
}

// The gate of this backup: all trust it, and nobody has refused its canary.
v1::RotationGate GateOfBackup(const Tables& tables, const state::v1::RotationRecord& rotation,
                              const Authority& backup, absl::Time now) {
  v1::RotationGate gate = GateOf(tables, rotation, TrustedFrom(tables, backup), now);
  const CoverageView view{tables.registry, tables.coverage, tables.outstanding};
  const std::set<std::string> except(rotation.except().begin(), rotation.except().end());
  for (const auto& [node_id, why] : Refusing(tables, backup, now)) {
    if (!Covers(view, node_id, gate.epoch(), now)) continue;  // it is missing already
    gate.set_covered(gate.covered() - 1);
    if (except.count(node_id) > 0) {
      gate.set_nodes(gate.nodes() - 1);
      gate.add_excepted(node_id);
      continue;
    }
    gate.set_open(false);
    v1::LateNode* late = gate.add_late();
    late->set_node_id(node_id);
    late->set_why(absl::StrCat("refuses the backup's canary: ", why));
  }
  return gate;
}

// All who are missing, not only those that a gate names.
void ExceptAllMissing(const Tables& tables, const Authority& backup, absl::Time now,
                      state::v1::RotationRecord* rotation) {
  std::set<std::string> except(rotation->except().begin(), rotation->except().end());
  const Gate gate = AskGate({tables.registry, tables.coverage, tables.outstanding},
                            TrustedFrom(tables, backup), now);
  for (const Missing& missing : gate.missing) except.insert(missing.node_id);
  for (const auto& [node_id, why] : Refusing(tables, backup, now)) except.insert(node_id);
  if (now <= UnknownUntil(tables.registry) + kClocksDiffer) except.insert(kUnknownNodes);
  rotation->mutable_except()->Assign(except.begin(), except.end());
}

struct Checked {
  const Authority* backup = nullptr;
  v1::RotationGate gate;
  Names except;  // node ids
};

void CountCanaries(const Tables& tables, v1::BackupIssuer* backup) {
  for (const auto& [node_id, holds] : tables.coverage.nodes()) {
    const auto* row = tables.registry.FindNode(node_id);
    const auto judged = holds.canaries.find(backup->spki_sha256());
    if (row == nullptr || row->record.state() != "attested") continue;
    if (judged == holds.canaries.end()) continue;
    if (judged->second.empty()) {
      backup->set_canary_good(backup->canary_good() + 1);
    } else {
      backup->set_canary_bad(backup->canary_bad() + 1);
    }
  }
}

// Sized from the fleet: that many nodes a second renew all that they hold.
absl::Duration WindowFor(const Tables& tables) {
  const auto nodes = static_cast<int64_t>(tables.registry.nodes().size());
  const Profile& profile = tables.options.profile;
  const absl::Duration most = std::min(profile.leaf_ttl, profile.node_ttl) / 2;
  return std::min(std::max(absl::Seconds(nodes / kNodesPerSecond), kLeastWindow), most);
}

absl::StatusOr<Checked> Check(const Tables& tables, const Failover& asked, absl::Time now) {
  Checked checked;
  ASSIGN_OR_RETURN(checked.backup, TheBackup(tables, asked));
  const std::string hindrance = HindranceOf(tables, *checked.backup, now);
  if (!hindrance.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the backup issuer ", NameAndPin(*checked.backup), " cannot take over: ", hindrance));
  }
  state::v1::RotationRecord rotation;
  RETURN_IF_ERROR(AddExcept(tables, asked.asked.except(), &rotation));
  checked.gate = GateOfBackup(tables, rotation, *checked.backup, now);
  if (!checked.gate.open() && asked.asked.now()) {
    // Each by name, as if it had been written out: the next gate waits for the others only.
    ExceptAllMissing(tables, *checked.backup, now, &rotation);
    checked.gate = GateOfBackup(tables, rotation, *checked.backup, now);
    checked.gate.set_open(true);
  }
  if (!checked.gate.open()) {
    return GateClosed(
        "linchpin failover --now, which goes on without all of them, or linchpin "
        "failover",
        checked.gate);
  }
  checked.except = {rotation.except().begin(), rotation.except().end()};
  return checked;
}

// What nobody is to be served by any more: whatever else signs or has signed, and other roots with
// all that is under them. What signed last comes first.
Names Going(const Authorities& authorities, const Authority& comes,
            const std::set<std::string>& given_up) {
  const Authority* root = authorities.RootOf(comes);
  Names keys = {authorities.active().record_key};
  for (const Authority& authority : authorities.all()) {
    if (&authority == &comes || &authority == &authorities.active()) continue;
    if (authority.state == kRetired || given_up.count(authority.record_key) > 0) continue;
    const bool of_other_root =
        authority.is_root ? &authority != root : authorities.RootOf(authority) != root;
    if (of_other_root || (!authority.is_root && authority.state != kBackup)) {
      keys.push_back(authority.record_key);
    }
  }
  return keys;
}

// Ends what is under way; the keys that nobody has heard of are given up.
std::vector<Write> EndRotation(const Tables& tables, const std::string& by, absl::Time now,
                               const Authority& comes, std::set<std::string>* given_up) {
  const auto* row = CurrentRotation(tables.registry);
  if (row == nullptr || IsOver(row->record)) return {};
  RotationDraft draft(tables, *row);
  for (const std::string& key : row->record.new_keys()) {
    const Authority* authority = tables.authorities.Find(key);
    if (authority == nullptr || !authority->withheld || authority == &comes) continue;
    draft.SetState(key, kRetired);
    given_up->insert(key);
  }
  for (const std::string& key : row->record.old_keys()) {
    const Authority* authority = tables.authorities.Find(key);
    if (authority == nullptr || !authority->withheld || authority->state != kBackup) continue;
    draft.SetState(key, kRetired);
    given_up->insert(key);
  }
  std::vector<Write> batch = draft.Reach(
      v1::ABORTED, by, "ended by a failover, which goes on from here", v1::RotationGate(), now);
  DropAwaited(tables.registry.awaited(), row->record.number(), &batch);
  return batch;
}

}  // namespace

absl::StatusOr<std::optional<AuthorityPlan>> PlanFailover(const Tables& tables,
                                                          const Failover& asked, absl::Time now) {
  ASSIGN_OR_RETURN(const Checked checked, Check(tables, asked, now));
  if (!asked.key.has_value()) return std::nullopt;
  AuthorityPlan plan{.profile = tables.options.profile,
                     .authorities = {},
                     .root = std::nullopt,
                     .root_key_name = ""};
  plan.given.emplace(checked.backup->key_name, *asked.key);
  return plan;
}

absl::StatusOr<std::vector<Write>> DecideFailover(const Tables& tables, const Failover& asked,
                                                  const std::string& by, absl::Time now) {
  ASSIGN_OR_RETURN(const Checked checked,
                   Check(tables, asked, now));  // again: keys took their time
  const Authority& comes = *checked.backup;
  // What is on its way now is replaced too.
  const absl::Time from = absl::FromUnixSeconds(absl::ToUnixSeconds(now)) + kUnderWay;
  const absl::Time until = from + WindowFor(tables);
  std::set<std::string> given_up;
  std::vector<Write> batch = EndRotation(tables, by, now, comes, &given_up);
  Row<state::v1::RotationRecord> row;
  row.record.set_number(NextRotation(tables.registry));
  row.record.set_what(kFailover);
  row.record.set_started_by(by);
  row.record.set_started_at(absl::ToUnixSeconds(now));
  row.record.set_on_deadline(kHold);
  row.record.mutable_except()->Assign(checked.except.begin(), checked.except.end());
  row.record.add_new_keys(comes.record_key);
  row.record.set_new_epoch(TrustedFrom(tables, comes));
  RotationDraft draft(tables, row);
  for (std::string& key : Going(tables.authorities, comes, given_up)) {
    if (tables.authorities.Find(key)->state != kBackup) draft.SetState(key, kRetiring);
    draft.Replace(key, from, until);
    draft.rotation.add_old_keys(std::move(key));
  }
  draft.SetState(comes.record_key, kActive);
  draft.SetState(tables.authorities.RootOf(comes)->record_key, kActive);
  draft.RaiseEpoch();  // with it nodes hear what to renew
  const absl::Time last = LastIssued(tables, draft.rotation.old_keys());
  if (last > now) draft.rotation.set_issued_until(absl::ToUnixSeconds(last));
  const std::string note =
      absl::StrCat(asked.asked.now() ? "--now: whoever is missing is gone on without; " : "",
                   "what the old issuer certified is replaced until ", trust::TimeText(until));
  for (Write& write : draft.Reach(v1::ACTIVATED, by, note, checked.gate, now)) {
    batch.push_back(std::move(write));
  }
  return batch;
}

size_t UsableBackups(const Tables& tables, absl::Time now) {
  const std::vector<Authority>& all = tables.authorities.all();
  return static_cast<size_t>(std::count_if(all.begin(), all.end(), [&](const Authority& one) {
    return !one.is_root && one.state == kBackup && HindranceOf(tables, one, now).empty();
  }));
}

google::protobuf::RepeatedPtrField<v1::BackupIssuer> DescribeBackups(const Tables& tables,
                                                                     absl::Time now) {
  google::protobuf::RepeatedPtrField<v1::BackupIssuer> backups;
  for (const Authority& authority : tables.authorities.all()) {
    if (authority.is_root || authority.state != kBackup) continue;
    v1::BackupIssuer* backup = backups.Add();
    backup->set_spki_sha256(authority.certificate.public_key().pin().bytes());
    backup->set_subject(authority.certificate.fields().subject);
    backup->set_not_after(absl::ToUnixSeconds(authority.certificate.fields().not_after));
    backup->set_key_present(tables.keys.count(authority.key_name) > 0);
    backup->set_hindrance(HindranceOf(tables, authority, now));
    CountCanaries(tables, backup);
  }
  return backups;
}

v1::FailoverOutlook DescribeFailover(const Tables& tables, absl::Time now) {
  v1::FailoverOutlook outlook;
  bool key_here = false;
  *outlook.mutable_backups() = DescribeBackups(tables, now);
  for (v1::BackupIssuer& backup : *outlook.mutable_backups()) {
    const Authority* authority = tables.authorities.FindIssuer(backup.spki_sha256());
    *backup.mutable_gate() = GateOfBackup(tables, state::v1::RotationRecord(), *authority, now);
    if (!backup.hindrance().empty()) continue;
    key_here = key_here || backup.key_present();
    if (backup.gate().open()) outlook.set_ready(true);
  }
  const std::string warning = BackupWarning(tables, now);
  const std::string command = absl::StrCat("linchpin failover", key_here ? "" : " --key FILE");
  if (!warning.empty()) {
    outlook.add_next("linchpin ca backup create --out FILE");
  } else if (outlook.ready()) {
    outlook.add_next(command);
  } else {
    outlook.add_next("linchpin coverage");
    outlook.add_next(absl::StrCat(command, " --except NODE"));
    outlook.add_next(absl::StrCat(command, " --now"));
  }
  return outlook;
}

}  // namespace linchpin::ca
