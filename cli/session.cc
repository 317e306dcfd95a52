// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/session.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/config_file.h"

namespace linchpin::cli {
namespace {

constexpr char kUsage[] = "linchpin.cli/usage";

}  // namespace

absl::Status UsageError(absl::string_view message) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kUsage, absl::Cord());
  return status;
}

bool IsUsageError(const absl::Status& status) { return status.GetPayload(kUsage).has_value(); }

CLI::App* AddGroup(CLI::App& parent, const std::string& name, const std::string& description) {
  CLI::App* group = parent.add_subcommand(name, description);
  group->require_subcommand(1);
  return group;
}

CLI::App* AddCommand(CLI::App& parent, Session& session, const std::string& name,
                     const std::string& description, std::function<absl::Status()> action) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->callback(
      [&session, action = std::move(action)]() mutable { session.action = std::move(action); });
  return command;
}

void SetExamples(CLI::App* command, const std::string& examples) {
  command->footer(
      absl::StrCat("Examples:\n  ", absl::StrReplaceAll(examples, {{"\n", "\n  "}}), "\n"));
}

std::string CheckDuration(const std::string& text) {
  const absl::StatusOr<absl::Duration> duration = base::ParseDuration(text, "it");
  return duration.ok() ? std::string() : std::string(duration.status().message());
}

}  // namespace linchpin::cli
