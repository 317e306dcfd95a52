// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of nodes and tokens.

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/ca_core.h"
#include "ca/core/reply.h"
#include "trust/text.h"
#include "x509/digest.h"

namespace linchpin::ca {
namespace {

constexpr int64_t kDefaultTokenTtl = 600;
constexpr int64_t kLongestTokenTtl = 7 * 24 * 3600;
constexpr size_t kMaxTokens = 100000;
constexpr size_t kMaxNodes = 100000;

}  // namespace

void CaCore::On(absl::Time now, event::AdminAsked event, Actions* out) {
  std::visit([&](const auto& asked) { Admin(now, event.call, asked, out); }, event.request);
}

void CaCore::Admin(absl::Time now, CallId call, const v1::CreateJoinTokenRequest& asked,
                   Actions* out) {
  Enqueue(
      now, call, [this, call, asked](absl::Time then) { return PrepareToken(then, call, asked); },
      out);
}

absl::StatusOr<CaCore::Change> CaCore::PrepareToken(absl::Time now, CallId call,
                                                    const v1::CreateJoinTokenRequest& asked) {
  const int64_t ttl = asked.ttl_seconds() == 0 ? kDefaultTokenTtl : asked.ttl_seconds();
  if (ttl < 1 || ttl > kLongestTokenTtl) {
    return absl::InvalidArgumentError(absl::StrCat("a token ttl of ", ttl, "s; 1s to ",
                                                   kLongestTokenTtl, "s (7 days) are allowed"));
  }
  if (registry_.tokens().size() >= kMaxTokens || registry_.nodes().size() >= kMaxNodes) {
    return absl::ResourceExhaustedError(absl::StrCat("there are ", registry_.tokens().size(),
                                                     " tokens and ", registry_.nodes().size(),
                                                     " nodes; forget nodes that are gone"));
  }
  const std::string name = asked.node_name().empty()
                               ? absl::BytesToHexString(base::RandomBytes(random_, 8))
                               : asked.node_name();
  ASSIGN_OR_RETURN(const trust::SpiffeId id, trust::NodeId(options_.profile.trust_domain, name));
  const std::string node_id = id.ToString();

  Change change;
  const auto* row = registry_.FindNode(node_id);
  if (row == nullptr) {
    state::v1::NodeRecord node;
    node.set_node_id(node_id);
    node.set_state("invited");
    change.batch.push_back(
        {.key = NodeKey(node_id), .value = node.SerializeAsString(), .expected = 0});
  } else if (row->record.state() == "banned") {
    return absl::FailedPreconditionError(
        absl::StrCat("the node ", node_id, " is banned; forget it first, or choose another name"));
  }
  // The prefix lets a leaked token be recognised; 192 random bits follow.
  const std::string secret =
      absl::StrCat("lpt_", absl::WebSafeBase64Escape(base::RandomBytes(random_, 24)));
  state::v1::TokenRecord token;
  token.set_node_id(node_id);
  token.set_expires_at(absl::ToUnixSeconds(now) + ttl);
  change.batch.push_back(
      {.key = TokenKey(x509::Sha256(secret)), .value = token.SerializeAsString(), .expected = 0});
  v1::JoinToken answer;
  answer.set_token(secret);
  answer.set_node_id(node_id);
  answer.set_expires_at(token.expires_at());
  change.then = [call, answer = std::move(answer)](absl::Time, Actions* then) {
    ReplyWith(call, answer, then);
  };
  return change;
}

v1::Node CaCore::NodeMessage(const state::v1::NodeRecord& node) const {
  v1::Node message;
  message.set_node_id(node.node_id());
  message.set_state(node.state());
  message.set_attested_by(node.attested_by());
  message.set_attested_at(node.attested_at());
  message.set_certificate_expires_at(node.certificate_expires_at());
  message.set_connected(session_of_.count(node.node_id()) > 0);
  if (const NodeHolds* holds = coverage_.Find(node.node_id())) {
    message.set_last_seen(absl::ToUnixSeconds(holds->last_seen));
    message.set_revision_held(holds->revision);
    message.set_epoch_held(holds->trust_epoch);
    message.set_pin_set_version(holds->pin_set_version);
    message.set_refused_trust(holds->refused);
  }
  return message;
}

void CaCore::Admin(absl::Time, CallId call, const v1::ListNodesRequest&, Actions* out) {
  v1::NodeList list;
  for (const auto& [id, row] : registry_.nodes()) *list.add_nodes() = NodeMessage(row.record);
  ReplyWith(call, std::move(list), out);
}

// A node by its SPIFFE ID or by its name alone.
absl::StatusOr<const Row<state::v1::NodeRecord>*> CaCore::ResolveNode(
    const std::string& node) const {
  std::string node_id = node;
  if (!absl::StartsWith(node, "spiffe://")) {
    ASSIGN_OR_RETURN(const trust::SpiffeId id, trust::NodeId(options_.profile.trust_domain, node));
    node_id = id.ToString();
  }
  const auto* row = registry_.FindNode(node_id);
  if (row != nullptr) return row;
  return absl::NotFoundError(
      absl::StrCat("the node ", trust::Quoted(node_id), " is not known; see node list"));
}

void CaCore::Admin(absl::Time now, CallId call, const BanNode& asked, Actions* out) {
  Enqueue(
      now, call,
      [this, call, node = asked.node_id](absl::Time) -> absl::StatusOr<Change> {
        ASSIGN_OR_RETURN(const auto* row, ResolveNode(node));
        state::v1::NodeRecord record = row->record;
        Change change;
        if (record.state() != "banned") {
          record.set_state("banned");
          change.batch.push_back({.key = NodeKey(record.node_id()),
                                  .value = record.SerializeAsString(),
                                  .expected = row->revision});
        }
        change.then = [this, call, record](absl::Time, Actions* then) {
          CloseSessionOf(record.node_id(),
                         absl::PermissionDeniedError(
                             absl::StrCat("the node ", record.node_id(), " is banned")),
                         false, then);
          ReplyWith(call, NodeMessage(record), then);
        };
        return change;
      },
      out);
}

void CaCore::Admin(absl::Time now, CallId call, const ForgetNode& asked, Actions* out) {
  Enqueue(
      now, call,
      [this, call, node = asked.node_id](absl::Time) -> absl::StatusOr<Change> {
        ASSIGN_OR_RETURN(const auto* row, ResolveNode(node));
        const state::v1::NodeRecord record = row->record;
        const std::set<std::string>& naming = registry_.IdentitiesNaming(record.node_id());
        if (!naming.empty()) {
          return absl::FailedPreconditionError(
              absl::StrCat("the registration ", *naming.begin(), " and ", naming.size() - 1,
                           " others name ", record.node_id(),
                           ", and a new node of that name would have them; update or delete "
                           "them first"));
        }
        Change change;
        for (const auto& [key, token] : registry_.tokens()) {
          if (token.record.node_id() != record.node_id()) continue;
          change.batch.push_back({.key = key, .value = std::nullopt, .expected = token.revision});
          if (change.batch.size() < Store::kMaxBatch) continue;
          // Those of so many first: none may be left for a new node of that name.
          change.then = [this, call, node](absl::Time then, Actions* more) {
            Admin(then, call, ForgetNode{node}, more);
          };
          return change;
        }
        change.batch.push_back(
            {.key = NodeKey(record.node_id()), .value = std::nullopt, .expected = row->revision});
        change.then = [this, call, record](absl::Time, Actions* then) {
          CloseSessionOf(record.node_id(),
                         absl::PermissionDeniedError(
                             absl::StrCat("the node ", record.node_id(), " was forgotten")),
                         false, then);
          coverage_.Forget(record.node_id());
          ReplyWith(call, NodeMessage(record), then);
        };
        return change;
      },
      out);
}

}  // namespace linchpin::ca
