// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What one run of the command is about: where it prints, whom it asks, what it was told to do.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"

namespace linchpin::cli {

enum class Format { kTable, kJson };

// One thread.
struct Session {
  std::ostream& out;
  std::ostream& err;
  const base::Clock& clock;
  Format format = Format::kTable;
  std::string admin_socket;  // a path
  // The CA over the network, as an operator with a certificate; empty: by the socket.
  std::string ca;  // HOST:PORT
  std::string operator_cert;
  std::string operator_key;
  std::vector<std::string> ca_pins;
  std::string signers;
  std::string agent_socket;  // a path
  // Set by the command that was named; run once the whole line is parsed.
  std::function<absl::Status()> action;
  int exit_code = 0;  // of an action that returned OK

  const std::string& ca_place() const { return ca.empty() ? admin_socket : ca; }
  bool json() const { return format == Format::kJson; }
};

// A mistake in the command line that only the command can see: exit code 2.
absl::Status UsageError(absl::string_view message);
bool IsUsageError(const absl::Status& status);

// A group of commands, like `node`; one of them must be named.
CLI::App* AddGroup(CLI::App& parent, const std::string& name, const std::string& description);
// A command. `examples`: whole command lines, one a line.
CLI::App* AddCommand(CLI::App& parent, Session& session, const std::string& name,
                     const std::string& description, std::function<absl::Status()> action);
void SetExamples(CLI::App* command, const std::string& examples);

// Fits `check` of an option: "90s", "1h30m".
std::string CheckDuration(const std::string& text);

}  // namespace linchpin::cli
