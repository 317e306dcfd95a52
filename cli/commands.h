// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The commands, a function a group: each adds itself to the command line.
#pragma once

#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "cli/session.h"

namespace linchpin::cli {

void AddCaCommands(CLI::App& app, Session& session);
void AddNodeCommands(CLI::App& app, Session& session);
void AddIdentityCommands(CLI::App& app, Session& session);
void AddPolicyCommands(CLI::App& app, Session& session);
void AddTrustCommands(CLI::App& app, Session& session);
void AddCoverageCommand(CLI::App& app, Session& session);
void AddRevokeCommands(CLI::App& app, Session& session);
void AddBanCommand(CLI::App& group, Session& session);  // of `node`
void AddPinsCommands(CLI::App& app, Session& session);
void AddBackupCommands(CLI::App& group, Session& session);   // of `ca`
void AddOfflineCommands(CLI::App& group, Session& session);  // of `ca`
void AddFailoverCommand(CLI::App& app, Session& session);
void AddRotateCommands(CLI::App& app, Session& session);
void AddOperatorCommands(CLI::App& app, Session& session);
void AddLogCommands(CLI::App& app, Session& session);
void AddFetchCommand(CLI::App& app, Session& session);
void AddCompletionCommand(CLI::App& app, Session& session);

// Writes the set after the published one, which is to name the keys that the CA has by now; its
// backup issuers' keys are shown to be held by `backup_keys` (files), the CA, or the set before.
absl::Status DraftNextPins(Session& session, const std::string& out,
                           const std::vector<std::string>& backup_keys);

// The whole command line but the program's name; returns the exit code.
int RunCommand(std::vector<std::string> arguments, Session& session);

}  // namespace linchpin::cli
