// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// policy allow, list, delete.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/config_file.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/pause.h"
#include "cli/table.h"

namespace linchpin::cli {
namespace {

using trust::v1::PeerRule;

struct PolicyOptions {
  std::string from;
  std::string to;
  bool audit = false;
  bool wait = false;
  std::string timeout = "30s";
};

PeerRule RuleOf(const PolicyOptions& options) {
  PeerRule rule;
  rule.set_from(options.from);
  rule.set_to(options.to);
  rule.set_mode(options.audit ? PeerRule::AUDIT : PeerRule::ENFORCE);
  rule.set_outbound(true);
  rule.set_inbound(true);
  return rule;
}

// The first connected node that does not hold the revision yet; empty: none.
absl::StatusOr<std::string> Laggard(const Session& session, uint64_t revision) {
  ASSIGN_OR_RETURN(const ca::v1::NodeList nodes,
                   CallCa(session, &AdminStub::ListNodes, ca::v1::ListNodesRequest()));
  for (const ca::v1::Node& node : nodes.nodes()) {
    if (node.connected() && node.revision_held() < revision) return node.node_id();
  }
  return std::string();
}

absl::Status WaitForNodes(const Session& session, const PolicyOptions& options, uint64_t revision) {
  ASSIGN_OR_RETURN(const absl::Duration timeout, base::ParseDuration(options.timeout, "--timeout"));
  const absl::Duration deadline = session.clock.Uptime() + timeout;
  while (true) {
    ASSIGN_OR_RETURN(const std::string laggard, Laggard(session, revision));
    if (laggard.empty()) return absl::OkStatus();
    if (session.clock.Uptime() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat("revision ", revision, " is stored, but ",
                                                      laggard, " does not hold it yet after ",
                                                      options.timeout, ": see linchpin node list"));
    }
    Pause(absl::Milliseconds(100));
  }
}

absl::Status Allow(Session& session, const PolicyOptions& options) {
  ASSIGN_OR_RETURN(const ca::v1::PolicyChange change,
                   CallCa(session, &AdminStub::AllowPeer, RuleOf(options)));
  if (options.wait) RETURN_IF_ERROR(WaitForNodes(session, options, change.revision()));
  if (session.json()) return PrintJson(session, change);
  session.out << options.from << " may call " << options.to
              << (options.audit ? " (audit: the pair is reported, not refused)" : "")
              << " from revision " << change.revision() << "\n";
  return absl::OkStatus();
}

std::string HalvesText(const PeerRule& rule) {
  if (rule.outbound() && rule.inbound()) return "both";
  return rule.outbound() ? "caller's only" : "callee's only";
}

absl::Status List(Session& session) {
  ASSIGN_OR_RETURN(const ca::v1::PolicyList list,
                   CallCa(session, &AdminStub::ListPolicy, ca::v1::ListPolicyRequest()));
  if (session.json()) return PrintJson(session, list);
  Table table({"FROM", "TO", "MODE", "HALVES"});
  for (const PeerRule& rule : list.rules()) {
    table.Add({rule.from(), rule.to(), rule.mode() == PeerRule::AUDIT ? "audit" : "enforce",
               HalvesText(rule)});
  }
  session.out << (table.empty() ? "no policy: nobody may call anybody (linchpin policy allow)\n"
                                : table.ToString());
  return absl::OkStatus();
}

absl::Status Delete(Session& session, const PolicyOptions& options) {
  ASSIGN_OR_RETURN(const ca::v1::PolicyChange change,
                   CallCa(session, &AdminStub::DeletePolicy, RuleOf(options)));
  if (session.json()) return PrintJson(session, change);
  session.out << options.from << " may no longer call " << options.to << " from revision "
              << change.revision() << "\n";
  return absl::OkStatus();
}

void AddPair(CLI::App* command, PolicyOptions& options) {
  command->add_option("--from", options.from, "SPIFFE ID of the caller")->required();
  command->add_option("--to", options.to, "SPIFFE ID of the callee")->required();
}

}  // namespace

void AddPolicyCommands(CLI::App& app, Session& session) {
  CLI::App* group = AddGroup(app, "policy", "Who may call whom; nobody may by default");
  auto options = std::make_shared<PolicyOptions>();
  CLI::App* allow = AddCommand(*group, session, "allow",
                               "Let a pair talk: writes the caller's and the callee's half",
                               [&session, options] { return Allow(session, *options); });
  AddPair(allow, *options);
  allow->add_flag("--audit", options->audit, "Report instead of refusing");
  allow->add_flag("--wait", options->wait, "Return when every connected node holds it");
  allow->add_option("--timeout", options->timeout, "How long to wait at most")
      ->check(CheckDuration)
      ->capture_default_str();
  SetExamples(allow,
              "linchpin policy allow --from spiffe://example.org/web "
              "--to spiffe://example.org/payments");
  CLI::App* list = AddCommand(*group, session, "list", "List the allowed pairs",
                              [&session] { return List(session); });
  SetExamples(list, "linchpin policy list");
  CLI::App* remove = AddCommand(*group, session, "delete", "Allow a pair no longer",
                                [&session, options] { return Delete(session, *options); });
  AddPair(remove, *options);
  SetExamples(remove,
              "linchpin policy delete --from spiffe://example.org/web "
              "--to spiffe://example.org/payments");
}

}  // namespace linchpin::cli
