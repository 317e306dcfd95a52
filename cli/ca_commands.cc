// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// ca pins, restored, csr, import, backup; node token, list, forget.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/config_file.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"

namespace linchpin::cli {
namespace {

absl::Status ShowPins(Session& session) {
  ASSIGN_OR_RETURN(const ca::v1::Authorities authorities,
                   CallCa(session, &AdminStub::GetAuthorities, ca::v1::GetAuthoritiesRequest()));
  if (session.json()) return PrintJson(session, authorities);
  Table table;  // no header: scripts take the first word of the first line
  for (const ca::v1::Authority& authority : authorities.authorities()) {
    table.Add({PinText(authority.spki_sha256()), authority.kind(), authority.state(),
               absl::StrCat("until ", TimeText(authority.not_after())),
               authority.key_present() ? "key here" : "key elsewhere", authority.subject()});
    if (!authority.warning().empty()) {
      session.err << "linchpin: warning: " << Printable(authority.warning()) << "\n";
    }
  }
  session.out << table.ToString();
  return absl::OkStatus();
}

absl::Status DeclareRestored(Session& session, bool take_renewed_nodes) {
  ca::v1::DeclareRestoredRequest request;
  request.set_take_renewed_nodes(take_renewed_nodes);
  ASSIGN_OR_RETURN(const ca::v1::RestoredStore store,
                   CallCa(session, &AdminStub::DeclareRestored, request));
  if (session.json()) return PrintJson(session, store);
  session.out << "nodes take this store's trust state, epoch " << store.trust_epoch()
              << ", whatever epoch they hold; " << store.connected_nodes()
              << " are connected (linchpin coverage says who has it)\n"
              << "what was issued since the copy may be valid until "
              << TimeText(store.unknown_until()) << ": gates wait as long\n";
  if (store.renewed_nodes_until() > 0) {
    session.out << "until " << TimeText(store.renewed_nodes_until())
                << " a node is taken by any certificate of this CA that is later than the copy; if "
                   "a key may be stolen: linchpin ca restored, without the flag, ends that\n";
  } else {
    session.out << "a node that made another key since the copy is refused: give each a new token "
                   "(linchpin node token --node NAME); or, if no key of an issuer or a node can "
                   "have been stolen: linchpin ca restored --take-renewed-nodes\n";
  }
  return absl::OkStatus();
}

struct TokenOptions {
  std::string ttl = "10m";
  std::string node;
};

absl::Status MakeToken(Session& session, const TokenOptions& options) {
  ASSIGN_OR_RETURN(const absl::Duration ttl, base::ParseDuration(options.ttl, "--ttl"));
  ca::v1::CreateJoinTokenRequest request;
  request.set_ttl_seconds(absl::ToInt64Seconds(ttl));
  request.set_node_name(options.node);
  ASSIGN_OR_RETURN(const ca::v1::JoinToken token,
                   CallCa(session, &AdminStub::CreateJoinToken, request));
  if (session.json()) return PrintJson(session, token);
  session.out << token.token() << "\n";  // alone: it goes into a file
  return absl::OkStatus();
}

absl::Status ListNodes(Session& session) {
  ASSIGN_OR_RETURN(const ca::v1::NodeList nodes,
                   CallCa(session, &AdminStub::ListNodes, ca::v1::ListNodesRequest()));
  if (session.json()) return PrintJson(session, nodes);
  Table table({"NODE", "STATE", "CONNECTED", "LAST SEEN", "CERTIFICATE UNTIL", "EPOCH", "PIN SET",
               "REFUSES", "NEEDS"});
  for (const ca::v1::Node& node : nodes.nodes()) {
    table.Add({node.node_id(), node.state(), YesNo(node.connected()), TimeText(node.last_seen()),
               TimeText(node.certificate_expires_at()), absl::StrCat(node.epoch_held()),
               absl::StrCat(node.pin_set_version(), RelaxedText(node.relaxed_until())),
               node.refused_trust().empty() ? "-" : node.refused_trust(),
               node.needs().empty() ? "-" : node.needs()});
  }
  session.out << (table.empty() ? "no nodes (linchpin node token)\n" : table.ToString());
  for (const ca::v1::Node& node : nodes.nodes()) {
    for (const std::string& concern : node.pin_concerns()) {
      session.out << Printable(absl::StrCat("warning: ", node.node_id(), ": ", concern)) << "\n";
    }
  }
  return absl::OkStatus();
}

using NodeCall = grpc::Status (AdminStub::*)(grpc::ClientContext*, const ca::v1::NodeRequest&,
                                             ca::v1::Node*);

absl::Status ChangeNode(Session& session, NodeCall call, const std::string& name,
                        const std::string& done) {
  ca::v1::NodeRequest request;
  ASSIGN_OR_RETURN(*request.mutable_node_id(), NodeIdOf(session, name));
  ASSIGN_OR_RETURN(const ca::v1::Node node, CallCa(session, call, request));
  if (session.json()) return PrintJson(session, node);
  session.out << node.node_id() << " " << done << "\n";
  return absl::OkStatus();
}

void AddNodeChange(CLI::App& group, Session& session, NodeCall call, const std::string& name,
                   const std::string& description, const std::string& done) {
  auto node = std::make_shared<std::string>();
  CLI::App* command = AddCommand(group, session, name, description, [&session, call, node, done] {
    return ChangeNode(session, call, *node, done);
  });
  command->add_option("NODE,--node", *node, "Its name or its SPIFFE ID")->required();
  SetExamples(command, absl::StrCat("linchpin node ", name, " web-1"));
}

}  // namespace

void AddCaCommands(CLI::App& app, Session& session) {
  CLI::App* group = AddGroup(app, "ca", "The CA's authorities");
  CLI::App* pins =
      AddCommand(*group, session, "pins", "Print the pins of the CA's keys, the root's first",
                 [&session] { return ShowPins(session); });
  SetExamples(pins,
              "linchpin ca pins\n"
              "linchpin-agent run --ca-pin $(linchpin ca pins | awk 'NR == 1 {print $1}') ...");
  auto take_renewed = std::make_shared<bool>(false);
  CLI::App* restored =
      AddCommand(*group, session, "restored",
                 "Say that the CA's store was put back from a copy, so that nodes go by it again",
                 [&session, take_renewed] { return DeclareRestored(session, *take_renewed); });
  restored->add_flag("--take-renewed-nodes", *take_renewed,
                     "For the life of a node certificate, take nodes that renewed or joined since "
                     "the copy by the certificate that they show. Never after a break-in: who has "
                     "the issuer's key can make one for any node");
  SetExamples(restored,
              "linchpin ca restored\n"
              "linchpin ca restored --take-renewed-nodes    # a lost disk, no break-in\n"
              "until linchpin coverage; do sleep 1; done");
  AddOfflineCommands(*group, session);
  AddBackupCommands(*group, session);
}

void AddNodeCommands(CLI::App& app, Session& session) {
  CLI::App* group = AddGroup(app, "node", "Nodes and the tokens that they join with");
  auto token = std::make_shared<TokenOptions>();
  CLI::App* make = AddCommand(*group, session, "token", "Print a single-use join token, alone",
                              [&session, token] { return MakeToken(session, *token); });
  make->add_option("--ttl", token->ttl, "How long it may be redeemed")
      ->check(CheckDuration)
      ->capture_default_str();
  make->add_option("--node", token->node, "The node's name; drawn if not given");
  SetExamples(make, "(umask 077; linchpin node token --ttl 10m --node web-1 > token)");
  CLI::App* list = AddCommand(*group, session, "list", "List the nodes and what they hold",
                              [&session] { return ListNodes(session); });
  SetExamples(list, "linchpin node list -o json");
  AddBanCommand(*group, session);
  AddNodeChange(*group, session, &AdminStub::ForgetNode, "forget",
                "Forget a node, so that its name is free", "is forgotten");
}

}  // namespace linchpin::cli
