// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The load that `./dev bench` puts on a CA and an agent; see protocol.h.
#include <CLI/CLI.hpp>
#include <iostream>

#include "rpc/grpc_log.h"
#include "tests/bench/load/scenarios.h"

namespace linchpin::bench {
namespace {

absl::Status result;

void AddIssue(CLI::App& app, IssueLoad* load) {
  CLI::App* command = app.add_subcommand("issue", "nodes that ask a CA for certificates");
  command->add_option("--admin-socket", load->admin_socket)->required();
  command->add_option("--ca", load->ca, "HOST:PORT")->required();
  command->add_option("--callers", load->callers);
  command->add_option("--batch", load->batch);
  command->add_option("--calls", load->calls, "of each caller, a round");
  command->callback([load] { result = RunIssueLoad(*load); });
}

CLI::App* AddCall(CLI::App& app, const char* name, const char* what, CallLoad* load) {
  CLI::App* command = app.add_subcommand(name, what);
  command->add_option("--socket", load->socket)->required();
  command->add_option("--path", load->request.path, "/package.Service/Method");
  command->add_option("--message", load->request.message);
  command->add_option("--header", load->request.header, "name of one more header");
  command->add_option("--value", load->request.value, "of that header");
  command->add_option("--least", load->least, "bytes of the first answer");
  command->add_option("--count", load->count);
  return command;
}

CLI::App* AddIdentities(CLI::App& app, const char* name, const char* what, IdentityLoad* load) {
  CLI::App* command = app.add_subcommand(name, what);
  command->add_option("--admin-socket", load->admin_socket)->required();
  command->add_option("--socket", load->agent_socket)->required();
  command->add_option("--count", load->count);
  return command;
}

void AddFleet(CLI::App& app, FleetLoad* load) {
  CLI::App* command = app.add_subcommand("fleet", "nodes that acknowledge");
  command->add_option("--admin-socket", load->admin_socket)->required();
  command->add_option("--ca", load->ca, "HOST:PORT")->required();
  command->add_option("--count", load->count);
  command->add_flag("--trust", load->trust, "publish pin sets");
  command->callback([load] { result = RunFleetLoad(*load); });
}

void AddRotation(CLI::App& app, RotationLoad* load) {
  CLI::App* command = app.add_subcommand("rotation", "nodes under whom an issuer is replaced");
  command->add_option("--admin-socket", load->admin_socket)->required();
  command->add_option("--ca", load->ca, "HOST:PORT")->required();
  command->add_option("--count", load->count);
  command->add_option("--services", load->services, "of each node");
  command->add_option("--life", load->life_seconds, "of certificates, in seconds");
  command->callback([load] { result = RunRotationLoad(*load); });
}

int Run(int argc, char** argv) {
  rpc::QuietGrpcLog();
  CLI::App app("Puts load on a CA and an agent, one round for each line on stdin.");
  app.require_subcommand(1);
  IssueLoad issue;
  CallLoad calls;
  StartLoad start;
  IdentityLoad identities;
  FleetLoad fleet;
  RotationLoad rotation;
  AddIssue(app, &issue);
  AddCall(app, "calls", "first answers on new connections", &calls)->callback([&] {
    result = RunCallLoad(calls);
  });
  AddCall(app, "kept", "first answers on one connection", &calls)->callback([&] {
    result = RunKeptLoad(calls);
  });
  AddCall(app, "hold", "many calls that stay open", &calls)->callback([&] {
    result = RunHoldLoad(calls);
  });
  CLI::App* command = AddCall(app, "start", "a program until its first answer", &start.call);
  command->add_option("program", start.program, "with its arguments, after --")->required();
  command->callback([&] { result = RunStartLoad(start); });
  AddIdentities(app, "identities", "a service whose identities come and go", &identities)
      ->callback([&] { result = RunIdentityLoad(identities); });
  AddIdentities(app, "many", "a service with many identities", &identities)->callback([&] {
    result = RunManyLoad(identities);
  });
  AddFleet(app, &fleet);
  AddRotation(app, &rotation);
  CLI11_PARSE(app, argc, argv);
  if (result.ok()) return 0;
  std::cerr << "linchpin-bench-load: " << result << "\n";
  return 1;
}

}  // namespace
}  // namespace linchpin::bench

int main(int argc, char** argv) { return linchpin::bench::Run(argc, argv); }
