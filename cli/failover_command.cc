// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// failover.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/key_files.h"
#include "cli/output.h"
#include "cli/rotation_text.h"
#include "x509/secret_bytes.h"

namespace linchpin::cli {
namespace {

struct FailoverOptions {
  std::string key;
  std::vector<std::string> except;
  bool now = false;
  bool check = false;
};

absl::Status Check(Session& session) {
  ASSIGN_OR_RETURN(const ca::v1::FailoverOutlook outlook,
                   CallCa(session, &AdminStub::GetFailover, ca::v1::GetFailoverRequest()));
  if (!outlook.ready()) session.exit_code = 1;
  if (session.json()) return PrintJson(session, outlook);
  session.out << FailoverText(outlook);
  return absl::OkStatus();
}

absl::Status Failover(Session& session, const FailoverOptions& options) {
  if (options.check) return Check(session);
  ca::v1::FailoverRequest request;
  request.set_now(options.now);
  for (const std::string& node : options.except) {
    ASSIGN_OR_RETURN(*request.add_except(), NodeIdOf(session, node));
  }
  if (!options.key.empty()) {
    ASSIGN_OR_RETURN(const x509::PrivateKey key, ReadPrivateKeyFile(options.key));
    request.set_private_key(std::string(key.ToPem().Reveal()));
  }
  const absl::StatusOr<ca::v1::Rotation> rotation = CallCa(session, &AdminStub::Failover, request);
  x509::WipeString(request.mutable_private_key());
  if (!rotation.ok()) return rotation.status();
  if (session.json()) return PrintJson(session, *rotation);
  session.out << RotationText(*rotation, session.clock.Now());
  return absl::OkStatus();
}

}  // namespace

void AddFailoverCommand(CLI::App& app, Session& session) {
  auto options = std::make_shared<FailoverOptions>();
  CLI::App* command = AddCommand(
      app, session, "failover",
      "Issue from the backup issuer from now on; refused until its chain and pin are everywhere",
      [&session, options] { return Failover(session, *options); });
  command->add_option("--key", options->key,
                      "The backup issuer's key file; left out where it is beside the CA");
  command->add_option(
      "--except", options->except,
      "A node that is not waited for; recorded. @unknown: those that a store which was "
      "put back from a copy does not know");
  command->add_flag("--now", options->now,
                    "Wait for nobody: go on without all that are missing; recorded");
  command->add_flag("--check", options->check,
                    "Only say whether it could be done now; exits 1 if not");
  SetExamples(command,
              "linchpin failover --check\n"
              "linchpin failover --key backup.key\n"
              "linchpin failover --key backup.key --except web-7");
}

}  // namespace linchpin::cli
