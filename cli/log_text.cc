// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/log_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "cli/output.h"
#include "cli/table.h"
#include "trust/text.h"
#include "x509/certificate.h"

namespace linchpin::cli {
namespace {

constexpr size_t kMostOfOne = 160;  // the whole is in -o json

std::string Cut(const std::string& text) {
  if (text.size() <= kMostOfOne) return text;
  return absl::StrCat(trust::Beginning(text, kMostOfOne), "…");
}

std::string Became(const ca::v1::ChangedRecord& record) {
  if (record.before().empty()) return absl::StrCat("created ", Cut(record.after()));
  if (record.after().empty()) return absl::StrCat("deleted ", Cut(record.before()));
  return absl::StrCat(Cut(record.before()), " → ", Cut(record.after()));
}

}  // namespace

LogRow LogHeader() { return {"TIME", "WHO", "WHAT", "OBJECT", "BEFORE → AFTER"}; }

LogRow RowOf(const ca::v1::LogEntry& entry) {
  absl::string_view who = entry.node_id();
  if (who.empty()) who = "linchpin-ca";
  who.remove_prefix(
      who.find("/linchpin/") == absl::string_view::npos ? 0 : who.find("/linchpin/") + 10);
  return {TimeText(entry.issued_at()), std::string(who), "certificate", entry.spiffe_id(),
          absl::StrCat("until ", TimeText(entry.not_after()), ", serial ",
                       x509::SerialText(entry.serial()))};
}

std::vector<LogRow> RowsOf(const ca::v1::Change& change) {
  std::vector<LogRow> rows;
  const std::string time = TimeText(change.changed_at());
  const std::string who = absl::StrCat(change.who(), " (", change.role(), ")");
  for (const ca::v1::ChangedRecord& record : change.records()) {
    rows.push_back({time, who, change.method(), record.object(), Became(record)});
  }
  if (change.more_records() > 0) {
    rows.push_back({time, who, change.method(),
                    absl::StrCat("and ", change.more_records(), " more records"), ""});
  }
  if (rows.empty()) rows.push_back({time, who, change.method(), "", ""});
  if (change.trust_epoch() > 0) {
    absl::StrAppend(&rows.front().back(), " (trust epoch ", change.trust_epoch(), ")");
  }
  return rows;
}

std::string LineOf(const LogRow& row) {
  return Printable(
      absl::StrFormat("%s  %-20s  %-16s  %-40s  %s", row[0], row[1], row[2], row[3], row[4]));
}

}  // namespace linchpin::cli
