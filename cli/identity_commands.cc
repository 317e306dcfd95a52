// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// identity create, list, show, update, delete.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/config_file.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"

namespace linchpin::cli {
namespace {

using ca::v1::Identity;

struct IdentityOptions {
  std::string which;  // of update, show and delete: a registration's or a SPIFFE ID
  std::string spiffe_id;
  std::vector<std::string> selectors;
  std::vector<std::string> nodes;
  bool any_node = false;
  std::string ttl;
  std::vector<std::string> dns;
  std::string hint;
};

template <typename Field>
void Replace(const std::vector<std::string>& values, Field* field) {
  field->Clear();
  for (const std::string& value : values) *field->Add() = value;
}

// Puts what was given on the command line into `identity`; the rest stays.
absl::Status Fill(const Session& session, const IdentityOptions& options, Identity* identity) {
  if (!options.selectors.empty()) Replace(options.selectors, identity->mutable_selectors());
  if (!options.dns.empty()) Replace(options.dns, identity->mutable_dns_names());
  if (!options.hint.empty()) identity->set_hint(options.hint);
  if (!options.ttl.empty()) {
    ASSIGN_OR_RETURN(const absl::Duration ttl, base::ParseDuration(options.ttl, "--ttl"));
    identity->set_ttl_seconds(absl::ToInt64Seconds(ttl));
  }
  if (options.any_node) {
    identity->clear_node_ids();
    identity->set_any_node(true);
  }
  if (!options.nodes.empty()) {
    identity->clear_node_ids();
    identity->set_any_node(false);
    for (const std::string& node : options.nodes) {
      ASSIGN_OR_RETURN(*identity->add_node_ids(), NodeIdOf(session, node));
    }
  }
  return absl::OkStatus();
}

absl::Status PrintOne(Session& session, const Identity& identity) {
  if (session.json()) return PrintJson(session, identity);
  Table table;
  table.Add({"id", identity.identity_id()});
  table.Add({"spiffe id", identity.spiffe_id()});
  table.Add({"selectors", absl::StrJoin(identity.selectors(), " ")});
  table.Add({"nodes", identity.any_node() ? "any" : absl::StrJoin(identity.node_ids(), " ")});
  table.Add({"ttl", DurationText(identity.ttl_seconds())});
  if (!identity.dns_names().empty()) {
    table.Add({"dns", absl::StrJoin(identity.dns_names(), " ")});
  }
  if (!identity.hint().empty()) table.Add({"hint", identity.hint()});
  session.out << table.ToString();
  return absl::OkStatus();
}

absl::StatusOr<ca::v1::IdentityList> All(const Session& session) {
  return CallCa(session, &AdminStub::ListIdentities, ca::v1::ListIdentitiesRequest());
}

absl::StatusOr<Identity> Find(const Session& session, const std::string& which) {
  ASSIGN_OR_RETURN(const ca::v1::IdentityList all, All(session));
  std::vector<const Identity*> found;
  for (const Identity& identity : all.identities()) {
    if (identity.identity_id() == which || identity.spiffe_id() == which) {
      found.push_back(&identity);
    }
  }
  if (found.size() == 1) return *found.front();
  if (found.empty()) {
    return absl::NotFoundError(
        absl::StrCat("no identity \"", which, "\": see linchpin identity list"));
  }
  return absl::FailedPreconditionError(absl::StrCat(which, " has ", found.size(),
                                                    " registrations: name one by its id, e.g. ",
                                                    found.front()->identity_id()));
}

absl::Status Create(Session& session, const IdentityOptions& options) {
  if (options.nodes.empty() && !options.any_node) {
    return UsageError("who may issue it? name its nodes with --node, or give --any-node");
  }
  Identity identity;
  identity.set_spiffe_id(options.spiffe_id);
  RETURN_IF_ERROR(Fill(session, options, &identity));
  ASSIGN_OR_RETURN(const Identity created, CallCa(session, &AdminStub::CreateIdentity, identity));
  return PrintOne(session, created);
}

absl::Status List(Session& session) {
  ASSIGN_OR_RETURN(const ca::v1::IdentityList all, All(session));
  if (session.json()) return PrintJson(session, all);
  Table table({"ID", "SPIFFE ID", "SELECTORS", "NODES", "TTL"});
  for (const Identity& identity : all.identities()) {
    table.Add({identity.identity_id(), identity.spiffe_id(),
               absl::StrJoin(identity.selectors(), " "),
               identity.any_node() ? "any" : absl::StrJoin(identity.node_ids(), " "),
               DurationText(identity.ttl_seconds())});
  }
  session.out << (table.empty() ? "no identities (linchpin identity create)\n" : table.ToString());
  return absl::OkStatus();
}

absl::Status Show(Session& session, const IdentityOptions& options) {
  ASSIGN_OR_RETURN(const Identity identity, Find(session, options.which));
  return PrintOne(session, identity);
}

absl::Status Update(Session& session, const IdentityOptions& options) {
  ASSIGN_OR_RETURN(Identity identity, Find(session, options.which));
  RETURN_IF_ERROR(Fill(session, options, &identity));
  ASSIGN_OR_RETURN(const Identity updated, CallCa(session, &AdminStub::UpdateIdentity, identity));
  return PrintOne(session, updated);
}

absl::Status Delete(Session& session, const IdentityOptions& options) {
  ca::v1::DeleteIdentityRequest request;
  const bool by_spiffe_id = absl::StartsWith(options.which, "spiffe://");
  (by_spiffe_id ? request.mutable_spiffe_id() : request.mutable_identity_id())
      ->assign(options.which);
  ASSIGN_OR_RETURN(const Identity deleted, CallCa(session, &AdminStub::DeleteIdentity, request));
  if (session.json()) return PrintJson(session, deleted);
  session.out << deleted.identity_id() << " " << deleted.spiffe_id()
              << " is deleted: it is renewed no more; its certificates live until they expire\n";
  return absl::OkStatus();
}

void AddFields(CLI::App* command, IdentityOptions& options, bool required) {
  CLI::Option* selectors = command->add_option(
      "--selector", options.selectors, "kind:key:value that the process must show; all must match");
  if (required) selectors->required();
  CLI::Option* nodes =
      command->add_option("--node", options.nodes, "A node that may issue it: name or SPIFFE ID");
  command->add_flag("--any-node", options.any_node, "Every node may issue it")->excludes(nodes);
  command->add_option("--ttl", options.ttl, "Life of its certificates, e.g. 1h")
      ->check(CheckDuration);
  command->add_option("--dns", options.dns, "A DNS name for clients that know no SPIFFE IDs");
  command->add_option("--hint", options.hint, "A word that tells it from the caller's others");
}

void AddWhich(CLI::App* command, IdentityOptions& options) {
  command->add_option("ID,--id", options.which, "The registration's id, or its SPIFFE ID")
      ->required();
}

}  // namespace

void AddIdentityCommands(CLI::App& app, Session& session) {
  CLI::App* group = AddGroup(app, "identity", "Registrations: which process gets which SPIFFE ID");
  auto options = std::make_shared<IdentityOptions>();

  CLI::App* create = AddCommand(*group, session, "create", "Register an identity",
                                [&session, options] { return Create(session, *options); });
  create->add_option("--id", options->spiffe_id, "Its SPIFFE ID")->required();
  AddFields(create, *options, true);
  SetExamples(create,
              "linchpin identity create --id spiffe://example.org/web "
              "--selector unix:user:web --node web-1\n"
              "linchpin identity create --id spiffe://example.org/payments "
              "--selector unix:path:/srv/payments --any-node --ttl 30m");

  CLI::App* list = AddCommand(*group, session, "list", "List the identities",
                              [&session] { return List(session); });
  SetExamples(list, "linchpin identity list -o json");

  CLI::App* show = AddCommand(*group, session, "show", "Show an identity",
                              [&session, options] { return Show(session, *options); });
  AddWhich(show, *options);
  SetExamples(show, "linchpin identity show spiffe://example.org/web");

  CLI::App* update =
      AddCommand(*group, session, "update", "Change what is given of an identity; the rest stays",
                 [&session, options] { return Update(session, *options); });
  AddWhich(update, *options);
  AddFields(update, *options, false);
  SetExamples(update, "linchpin identity update spiffe://example.org/web --ttl 30m");

  CLI::App* remove = AddCommand(*group, session, "delete", "Delete an identity; revokes nothing",
                                [&session, options] { return Delete(session, *options); });
  AddWhich(remove, *options);
  SetExamples(remove, "linchpin identity delete spiffe://example.org/web");
}

}  // namespace linchpin::cli
