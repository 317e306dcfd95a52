// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The command line as a whole: options of every command, errors, exit codes.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/table.h"

namespace linchpin::cli {
namespace {

constexpr int kFailed = 1;
constexpr int kBadUsage = 2;
constexpr char kAdminSocket[] = "/var/lib/linchpin-ca/admin.sock";
constexpr char kAgentSocket[] = "unix:///run/linchpin/agent.sock";

void AddGlobalOptions(CLI::App& app, Session& session) {
  app.set_version_flag("--version", "linchpin " LINCHPIN_VERSION);
  app.add_option("--admin-socket", session.admin_socket, "The CA's admin socket")
      ->envname("LINCHPIN_ADMIN_SOCKET")
      ->default_str(kAdminSocket);
  app.add_option("--ca", session.ca,
                 "HOST:PORT of the CA's admin listener, instead of its socket: for operators with "
                 "a certificate")
      ->envname("LINCHPIN_CA");
  app.add_option("--operator-cert", session.operator_cert, "With --ca: whom to ask as")
      ->envname("LINCHPIN_OPERATOR_CERT");
  app.add_option("--operator-key", session.operator_key, "With --ca: the key of --operator-cert")
      ->envname("LINCHPIN_OPERATOR_KEY");
  app.add_option("--ca-pin", session.ca_pins,
                 "With --ca: the CA's root or issuer by its key (linchpin ca pins); repeatable")
      ->allow_extra_args(false)
      ->envname("LINCHPIN_CA_PIN");
  app.add_option("--signers", session.signers,
                 "With --ca, instead of --ca-pin: what linchpin pins export --signers wrote")
      ->envname("LINCHPIN_SIGNERS");
  app.add_option("--socket", session.agent_socket,
                 "The agent's socket (else LINCHPIN_AGENT_SOCKET, SPIFFE_ENDPOINT_SOCKET)")
      ->default_str(kAgentSocket);
  const std::map<std::string, Format> formats = {{"table", Format::kTable},
                                                 {"json", Format::kJson}};
  app.add_option("-o,--output", session.format, "table or json")
      ->transform(CLI::CheckedTransformer(formats).description(""))
      ->type_name("FORMAT")
      ->default_str("table");
}

std::string FirstOf(const std::string& given, std::initializer_list<const char*> variables,
                    const char* otherwise) {
  if (!given.empty()) return given;
  for (const char* variable : variables) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') return value;
  }
  return otherwise;
}

// Only of what the command asks: an agent's address that we cannot use is nothing to the CA.
absl::Status ResolveSocket(Session& session, bool of_agent) {
  if (!of_agent) {
    ASSIGN_OR_RETURN(session.admin_socket,
                     SocketPath(FirstOf(session.admin_socket, {}, kAdminSocket)));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(
      session.agent_socket,
      SocketPath(FirstOf(session.agent_socket, {"LINCHPIN_AGENT_SOCKET", "SPIFFE_ENDPOINT_SOCKET"},
                         kAgentSocket)));
  return absl::OkStatus();
}

// The command that was named, for the hint at its help.
std::string NamedCommand(const CLI::App& app) {
  std::string name = "linchpin";
  for (const CLI::App* at = &app;;) {
    const auto named = at->get_subcommands();
    if (named.empty()) return name;
    at = named.front();
    absl::StrAppend(&name, " ", at->get_name());
  }
}

int Fail(Session& session, int code, const std::string& message) {
  session.err << "linchpin: " << Printable(message) << std::endl;
  return code;
}

}  // namespace

int RunCommand(std::vector<std::string> arguments, Session& session) {
  CLI::App app(
      "The operator's command of Linchpin: identities, peer policy, pin sets and what they cover.",
      "linchpin");
  app.require_subcommand(1);
  app.fallthrough();
  AddGlobalOptions(app, session);
  AddCaCommands(app, session);
  AddNodeCommands(app, session);
  AddIdentityCommands(app, session);
  AddPolicyCommands(app, session);
  AddTrustCommands(app, session);
  AddCoverageCommand(app, session);
  AddRevokeCommands(app, session);
  AddPinsCommands(app, session);
  AddRotateCommands(app, session);
  AddFailoverCommand(app, session);
  AddOperatorCommands(app, session);
  AddLogCommands(app, session);
  AddFetchCommand(app, session);
  AddCompletionCommand(app, session);
  SetExamples(&app,
              "linchpin node token --ttl 10m --node web-1\n"
              "linchpin identity create --id spiffe://example.org/web "
              "--selector unix:user:web --any-node\n"
              "linchpin policy allow --from spiffe://example.org/web "
              "--to spiffe://example.org/payments\n"
              "linchpin coverage\n"
              "linchpin fetch");
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::Success& help) {
    app.exit(help, session.out, session.err);
    return 0;
  } catch (const CLI::ParseError& error) {
    return Fail(session, kBadUsage,
                absl::StrCat(error.what(), "; see ", NamedCommand(app), " --help"));
  }
  absl::Status done = ResolveSocket(session, app.got_subcommand("fetch"));
  if (done.ok()) done = session.action();
  if (done.ok() && !session.out.flush().good()) {
    done = absl::DataLossError("the output could not be written whole: is the disk full?");
  }
  if (done.ok()) return session.exit_code;
  if (IsUsageError(done)) {
    return Fail(session, kBadUsage,
                absl::StrCat(std::string(done.message()), "; see ", NamedCommand(app), " --help"));
  }
  return Fail(session, kFailed, std::string(done.message()));
}

}  // namespace linchpin::cli
