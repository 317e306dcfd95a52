// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of nodes and tokens.

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/admin.h"
#include "ca/core/change_log.h"
#include "ca/core/kubernetes_nodes.h"
#include "ca/core/pin_sets.h"
#include "ca/core/policy_coverage.h"
#include "ca/core/restored.h"
#include "trust/text.h"
#include "x509/digest.h"

namespace linchpin::ca {
namespace {

constexpr int64_t kDefaultTokenTtl = 600;
constexpr int64_t kLongestTokenTtl = 7 * 24 * 3600;
constexpr size_t kMaxTokens = 100000;

// What it needs that it cannot do itself.
std::string Needs(const Tables& tables, const state::v1::NodeRecord& node, absl::Time now) {
  if (node.has_kubernetes()) return "";  // its next token does
  const absl::Time expired = absl::FromUnixSeconds(node.certificate_expires_at());
  if (node.state() != "attested" || now <= expired + tables.options.reattest_grace) return "";
  return absl::StrCat("a join token (linchpin node token --node ",
                      node.node_id().substr(node.node_id().rfind('/') + 1),
                      "): its certificate expired longer ago than ",
                      absl::FormatDuration(tables.options.reattest_grace));
}

v1::Node NodeMessage(const Tables& tables, const state::v1::NodeRecord& node, absl::Time now) {
  v1::Node message;
  message.set_node_id(node.node_id());
  message.set_state(node.state());
  message.set_attested_by(node.attested_by());
  message.set_attested_at(node.attested_at());
  message.set_certificate_expires_at(node.certificate_expires_at());
  message.set_needs(Needs(tables, node, now));
  message.set_connected(tables.sessions.count(node.node_id()) > 0);
  if (const NodeHolds* holds = tables.coverage.Find(node.node_id())) {
    if (holds->last_seen > absl::UnixEpoch()) {
      message.set_last_seen(absl::ToUnixSeconds(holds->last_seen));
    }
    message.set_revision_held(RevisionHeld(tables.registry, *holds));
    message.set_epoch_held(holds->trust_epoch);
    message.set_pin_set_version(holds->pin_set_version);
    message.set_refused_trust(holds->refused);
    message.set_relaxed_until(holds->relaxed_until);
    for (const std::string& concern : holds->concerns) message.add_pin_concerns(concern);
  }
  return message;
}

auto AnswerWithNode(state::v1::NodeRecord record) {
  return [record = std::move(record)](const Tables& tables, absl::Time now) {
    return std::make_shared<const v1::Node>(NodeMessage(tables, record, now));
  };
}

absl::StatusOr<std::string> WholeNodeId(const Tables& tables, const std::string& node) {
  if (absl::StartsWith(node, "spiffe://")) return node;
  ASSIGN_OR_RETURN(const trust::SpiffeId id,
                   trust::NodeId(tables.options.profile.trust_domain, node));
  return id.ToString();
}

// As ResolveNode, but in a store that was put back from a copy also one that it does not know.
absl::StatusOr<Row<state::v1::NodeRecord>> NodeToBan(const Tables& tables, absl::Time now,
                                                     const std::string& node) {
  const auto known = ResolveNode(tables, node);
  if (known.ok()) return **known;
  const Registry& registry = tables.registry;
  if (!absl::IsNotFound(known.status()) || now >= UnknownUntil(registry)) return known.status();
  ASSIGN_OR_RETURN(const std::string node_id, WholeNodeId(tables, node));
  ASSIGN_OR_RETURN(const trust::SpiffeId id, trust::SpiffeId::Parse(node_id));
  if (!id.IsNode() || id.trust_domain() != tables.options.profile.trust_domain ||
      id.ToString() != node_id) {
    return known.status();
  }
  if (registry.nodes().size() >= kMaxNodes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", kMaxNodes, " nodes; forget those that are gone"));
  }
  Row<state::v1::NodeRecord> row;
  row.record.set_node_id(node_id);
  return row;
}

}  // namespace

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now,
                                const v1::CreateJoinTokenRequest& asked) {
  const Registry& registry = tables.registry;
  const int64_t ttl = asked.ttl_seconds() == 0 ? kDefaultTokenTtl : asked.ttl_seconds();
  if (ttl < 1 || ttl > kLongestTokenTtl) {
    return absl::InvalidArgumentError(absl::StrCat("a token ttl of ", ttl, "s; 1s to ",
                                                   kLongestTokenTtl, "s (7 days) are allowed"));
  }
  if (registry.tokens().size() >= kMaxTokens || registry.nodes().size() >= kMaxNodes) {
    return absl::ResourceExhaustedError(absl::StrCat("there are ", registry.tokens().size(),
                                                     " tokens and ", registry.nodes().size(),
                                                     " nodes; forget nodes that are gone"));
  }
  const std::string name = asked.node_name().empty()
                               ? absl::BytesToHexString(base::RandomBytes(tables.random, 8))
                               : asked.node_name();
  ASSIGN_OR_RETURN(const trust::SpiffeId id,
                   trust::NodeId(tables.options.profile.trust_domain, name));
  const std::string node_id = id.ToString();

  Decision decision;
  const auto* row = registry.FindNode(node_id);
  if (row == nullptr) {
    state::v1::NodeRecord node;
    node.set_node_id(node_id);
    node.set_state("invited");
    decision.batch.push_back(
        {.key = NodeKey(node_id), .value = node.SerializeAsString(), .expected = 0});
  } else if (row->record.state() == "banned") {
    return absl::FailedPreconditionError(
        absl::StrCat("the node ", node_id, " is banned; forget it first, or choose another name"));
  }
  // The prefix lets a leaked token be recognised; 192 random bits follow.
  const std::string secret =
      absl::StrCat("lpt_", absl::WebSafeBase64Escape(base::RandomBytes(tables.random, 24)));
  state::v1::TokenRecord token;
  token.set_node_id(node_id);
  token.set_expires_at(absl::ToUnixSeconds(now) + ttl);
  decision.batch.push_back(
      {.key = TokenKey(x509::Sha256(secret)), .value = token.SerializeAsString(), .expected = 0});
  v1::JoinToken answer;
  answer.set_token(secret);
  answer.set_node_id(node_id);
  answer.set_expires_at(token.expires_at());
  decision.answer = AnswerWith(std::move(answer));
  return decision;
}

absl::StatusOr<v1::NodeList> Answer(const Tables& tables, absl::Time now,
                                    const v1::ListNodesRequest&) {
  v1::NodeList list;
  const uint64_t published = PublishedVersion(tables.registry.trust().record);
  for (const auto& [id, row] : tables.registry.nodes()) {
    v1::Node* node = list.add_nodes();
    *node = NodeMessage(tables, row.record, now);
    if (node->pin_set_version() <= published) continue;
    node->add_pin_concerns(absl::StrCat("it holds pin set version ", node->pin_set_version(),
                                        " by another way than this CA, which "
                                        "has version ",
                                        published,
                                        ": publish it here too (linchpin pins publish FILE)"));
  }
  return list;
}

absl::StatusOr<const Row<state::v1::NodeRecord>*> ResolveNode(const Tables& tables,
                                                              const std::string& node) {
  ASSIGN_OR_RETURN(const std::string node_id, WholeNodeId(tables, node));
  const auto* row = tables.registry.FindNode(node_id);
  if (row != nullptr) return row;
  return absl::NotFoundError(
      absl::StrCat("the node ", trust::Quoted(node_id), " is not known; see node list"));
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const BanNode& asked) {
  ASSIGN_OR_RETURN(const auto row, NodeToBan(tables, now, asked.node_id));
  state::v1::NodeRecord record = row.record;
  Decision decision;
  if (record.state() != "banned") {
    record.set_state("banned");
    decision.batch.push_back({.key = NodeKey(record.node_id()),
                              .value = record.SerializeAsString(),
                              .expected = row.revision});
  }
  decision.disconnect = {record.node_id(), absl::PermissionDeniedError(absl::StrCat(
                                               "the node ", record.node_id(), " is banned"))};
  decision.answer = AnswerWithNode(std::move(record));
  return decision;
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const ForgetNode& asked) {
  ASSIGN_OR_RETURN(const auto* row, ResolveNode(tables, asked.node_id));
  const std::string& node_id = row->record.node_id();
  const std::set<std::string>& naming = tables.registry.IdentitiesNaming(node_id);
  if (!naming.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the registration ", *naming.begin(), " and ", naming.size() - 1, " others name ", node_id,
        ", and a new node of that name would have them; update or delete them first"));
  }
  Decision decision;
  for (const auto& [key, token] : tables.registry.tokens()) {
    if (token.record.node_id() != node_id) continue;
    decision.batch.push_back({.key = key, .value = std::nullopt, .expected = token.revision});
    if (decision.batch.size() < Store::kMaxBatch - kChangeWrites - 1) continue;
    // Those of so many first: none may be left for a new node of that name.
    decision.again = true;
    return decision;
  }
  decision.batch.push_back(
      {.key = NodeKey(node_id), .value = std::nullopt, .expected = row->revision});
  for (Write& write : RememberForgotten(tables, row->record, now)) {
    decision.batch.push_back(std::move(write));
  }
  decision.disconnect = {
      node_id, absl::PermissionDeniedError(absl::StrCat("the node ", node_id, " was forgotten"))};
  decision.answer = AnswerWithNode(row->record);
  return decision;
}

}  // namespace linchpin::ca
