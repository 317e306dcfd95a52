// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/rotation_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/output.h"
#include "cli/table.h"

namespace linchpin::cli {
namespace {

constexpr int kMostLate = 20;
constexpr int kMostHistory = 12;

void AppendPins(absl::string_view label,
                const google::protobuf::RepeatedPtrField<std::string>& pins, std::string* text) {
  for (const std::string& pin : pins) absl::StrAppend(text, label, PinText(pin), "\n");
}

void AppendLate(const ca::v1::RotationGate& gate, std::string* text) {
  if (gate.late().empty()) return;
  Table table({"MISSING NODE", "WHY", "LAST SEEN", "STOPS TO COUNT"});
  for (int i = 0; i < std::min(gate.late_size(), kMostLate); ++i) {
    const ca::v1::LateNode& late = gate.late(i);
    table.Add({late.node_id(), late.why(), TimeText(late.last_seen()), TimeText(late.lapses_at())});
  }
  absl::StrAppend(text, table.ToString());
  const int more = static_cast<int>(gate.nodes() - gate.covered()) - kMostLate;
  if (more > 0) absl::StrAppend(text, "and ", more, " more (linchpin coverage)\n");
}

void AppendHistory(const ca::v1::Rotation& rotation, std::string* text) {
  Table table({"WHEN", "STEP", "BY", "EPOCH", "COVERAGE THEN", "NOTE"});
  const int first = std::max(0, rotation.history_size() - kMostHistory);
  for (int i = first; i < rotation.history_size(); ++i) {
    const ca::v1::RotationEvent& event = rotation.history(i);
    std::string coverage = "-";
    if (event.has_gate()) {
      coverage = absl::StrCat(event.gate().covered(), " of ", event.gate().nodes());
      if (event.gate().excepted_size() > 0) {
        absl::StrAppend(&coverage, ", except ", absl::StrJoin(event.gate().excepted(), " "));
      }
      if (event.gate().lapsed_size() > 0) {
        absl::StrAppend(&coverage, ", silent ", absl::StrJoin(event.gate().lapsed(), " "));
      }
    }
    table.Add({TimeText(event.at()), StepText(event.step()), event.by(),
               absl::StrCat(event.epoch()), coverage, event.note().empty() ? "-" : event.note()});
  }
  absl::StrAppend(text, table.ToString());
}

void AppendNext(const google::protobuf::RepeatedPtrField<std::string>& commands,
                std::string* text) {
  for (const std::string& command : commands) absl::StrAppend(text, "next: ", command, "\n");
}

}  // namespace

std::string StepText(ca::v1::RotationStep step) {
  switch (step) {
    case ca::v1::NO_ROTATION:
      return "none";
    case ca::v1::AWAITING_SIGNATURES_TO_DISTRIBUTE:
      return "awaiting_signatures (to distribute)";
    case ca::v1::AWAITING_SIGNATURES_TO_DROP:
      return "awaiting_signatures (to drop)";
    case ca::v1::AWAITING_SIGNATURES_TO_RESTORE:
      return "awaiting_signatures (to restore)";
    default:
      break;
  }
  std::string name = ca::v1::RotationStep_Name(step);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

std::string RotationText(const ca::v1::Rotation& rotation, absl::Time now) {
  std::string text;
  if (rotation.step() == ca::v1::NO_ROTATION) {
    absl::StrAppend(&text, "no rotation yet\n");
  } else {
    absl::StrAppend(
        &text,
        rotation.what() == "failover"
            ? absl::StrCat("rotation ", rotation.number(), ", a failover: ")
            : absl::StrCat("rotation ", rotation.number(), " of the ", rotation.what(), ": "),
        StepText(rotation.step()), "\n");
    absl::StrAppend(&text, "begun ", TimeText(rotation.started_at()), " by ",
                    rotation.started_by());
    if (rotation.deadline() > 0) {
      const absl::Duration left = absl::FromUnixSeconds(rotation.deadline()) - now;
      absl::StrAppend(
          &text, "; deadline ", TimeText(rotation.deadline()), " (",
          left > absl::ZeroDuration()
              ? absl::StrCat("in ", absl::FormatDuration(absl::Trunc(left, absl::Seconds(1))))
              : "over",
          "), then ", rotation.on_deadline());
    }
    absl::StrAppend(&text, "\n");
    AppendPins("comes ", rotation.new_pins(), &text);
    AppendPins("goes  ", rotation.old_pins(), &text);
    if (!rotation.except().empty()) {
      absl::StrAppend(&text, "except ", absl::StrJoin(rotation.except(), " "), "\n");
    }
    AppendHistory(rotation, &text);
  }
  for (const std::string& warning : rotation.warnings()) {
    absl::StrAppend(&text, "warning: ", Printable(warning), "\n");
  }
  if (!rotation.waits_for().empty())
    absl::StrAppend(&text, "waits for ", rotation.waits_for(), "\n");
  AppendLate(rotation.gate(), &text);
  AppendNext(rotation.next(), &text);
  return text;
}

std::string CanaryText(const google::protobuf::RepeatedPtrField<ca::v1::BackupIssuer>& backups) {
  std::string text;
  for (const ca::v1::BackupIssuer& backup : backups) {
    absl::StrAppend(&text, "backup issuer ", Printable(backup.subject()),
                    ": its canary is good on ", backup.canary_good(), " nodes, bad on ",
                    backup.canary_bad(),
                    backup.canary_bad() > 0 ? " (linchpin failover --check names them)" : "", "\n");
  }
  return text;
}

std::string FailoverText(const ca::v1::FailoverOutlook& outlook) {
  std::string text;
  for (const ca::v1::BackupIssuer& backup : outlook.backups()) {
    absl::StrAppend(&text, "backup issuer ", Printable(backup.subject()), " ",
                    PinText(backup.spki_sha256()), "\n  until ", TimeText(backup.not_after()),
                    backup.key_present() ? ", key beside the CA: move it away" : ", key elsewhere",
                    "\n  trusted by ", backup.gate().covered(), " of ", backup.gate().nodes(),
                    " nodes, its canary judged good by ", backup.canary_good(), " and bad by ",
                    backup.canary_bad(), "\n");
    if (!backup.hindrance().empty()) {
      absl::StrAppend(&text, "  cannot take over: ", Printable(backup.hindrance()), "\n");
    }
    AppendLate(backup.gate(), &text);
    if (backup.gate().unknown_until() > 0) {
      absl::StrAppend(
          &text,
          "  this store was put back from a copy: what nodes have that it does not know "
          "may be valid until ",
          TimeText(backup.gate().unknown_until()), " (--now, or --except @unknown)\n");
    }
  }
  if (outlook.backups().empty()) absl::StrAppend(&text, "no backup issuer\n");
  absl::StrAppend(&text, outlook.ready() ? "a failover could be done now\n"
                                         : "a failover could not be done now\n");
  AppendNext(outlook.next(), &text);
  return text;
}

}  // namespace linchpin::cli
