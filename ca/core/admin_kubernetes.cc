// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What the objects of a Kubernetes cluster come to: compared with what is stored, and stored where
// it differs.

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "ca/core/admin.h"
#include "ca/core/kubernetes_nodes.h"
#include "ca/core/registration.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMostAtOnce = 512;  // writes; the rest follows
constexpr char kIdPrefix[] = "k8s-";

class Comparison {
 public:
  Comparison(const Tables& tables, const ApplyKubernetes& asked)
      : tables_(tables), wishes_(*asked.wishes), refusals_(*asked.refusals) {}

  Decision Decide() {
    InviteNodes();
    // A registration names known nodes only.
    if (!decision_.batch.empty()) return Again();
    refusals_ = {};  // an earlier pass may have mended them
    // What one object gave up is another's to have: the latter is looked at with the former gone.
    RemoveUnwished();
    if (!decision_.batch.empty()) return Again();
    for (const auto& [id, wish] : wishes_.identities) {
      if (Full()) return Again();
      Compare(id, wish);
    }
    for (const auto& [pair, wish] : wishes_.rules) {
      if (Full()) return Again();
      Compare(pair, wish);
    }
    decision_.answer = AnswerWith(v1::IdentityList());
    return std::move(decision_);
  }

 private:
  bool Full() const { return decision_.batch.size() >= kMostAtOnce; }
  Decision Again() {
    decision_.again = true;
    return std::move(decision_);
  }
  bool IsOurs(const std::string& source) const { return absl::StartsWith(source, wishes_.source); }
  void Put(std::string key, std::string value, Revision expected) {
    decision_.batch.push_back(
        {.key = std::move(key), .value = std::move(value), .expected = expected});
  }
  void Remove(std::string key, Revision expected) {
    decision_.batch.push_back({.key = std::move(key), .value = std::nullopt, .expected = expected});
  }

  static bool IsInvited(const state::v1::NodeRecord& node) {
    return node.state() == "invited" && node.has_kubernetes();
  }
  size_t InvitedCount() const {
    return std::count_if(tables_.registry.nodes().begin(), tables_.registry.nodes().end(),
                         [](const auto& node) { return IsInvited(node.second.record); });
  }

  // With its node, if nothing but this was known of that one.
  void RemoveIdentity(const Row<state::v1::IdentityRecord>& row) {
    const v1::Identity& identity = row.record.identity();
    Remove(IdentityKey(identity.identity_id()), row.revision);
    removed_.insert(identity.identity_id());
    for (const std::string& node_id : identity.node_ids()) {
      const auto* node = tables_.registry.FindNode(node_id);
      if (node == nullptr || !IsInvited(node->record)) continue;
      const std::set<std::string>& all = tables_.registry.IdentitiesNaming(node_id);
      if (std::all_of(all.begin(), all.end(),
                      [this](const std::string& id) { return removed_.contains(id); })) {
        Remove(NodeKey(node_id), node->revision);
      }
    }
  }

  // Those that no registration names and none is to.
  void RemoveIdleInvited() {
    std::set<std::string> wished;
    for (const auto& [id, wish] : wishes_.identities) {
      if (wish.has_value()) wished.insert(wish->node_ids().begin(), wish->node_ids().end());
    }
    for (const auto& [node_id, node] : tables_.registry.nodes()) {
      if (Full()) return;
      if (IsInvited(node.record) && !wished.contains(node_id) &&
          tables_.registry.IdentitiesNaming(node_id).empty()) {
        Remove(NodeKey(node_id), node.revision);
      }
    }
  }

  // Nodes that run pods before their agent has attested.
  void InviteNodes() {
    std::set<std::string> invited;
    std::optional<size_t> count;  // of those before these
    for (const auto& [id, wish] : wishes_.identities) {
      if (!wish.has_value() || wish->node_ids().empty() || Full()) continue;
      const std::string& node_id = wish->node_ids(0);
      if (tables_.registry.FindNode(node_id) != nullptr || !invited.insert(node_id).second) {
        continue;
      }
      if (!count.has_value()) {
        count = InvitedCount();
        if (*count >= kMaxInvited / 2) RemoveIdleInvited();
      }
      if (*count + invited.size() > kMaxInvited) return;  // its registrations are refused
      // spiffe://TD/linchpin/node/k8s.CLUSTER.NODE
      const std::string name = node_id.substr(node_id.rfind('/') + 1);
      const std::vector<std::string> parts = absl::StrSplit(name, absl::MaxSplits('.', 2));
      state::v1::NodeRecord node;
      node.set_node_id(node_id);
      node.set_state("invited");
      node.mutable_kubernetes()->set_cluster(parts.size() == 3 ? parts[1] : "");
      node.mutable_kubernetes()->set_node_name(parts.size() == 3 ? parts[2] : "");
      Put(NodeKey(node_id), node.SerializeAsString(), 0);
    }
  }

  static std::string ClaimOf(const v1::Identity& identity) {
    return absl::StrCat(identity.spiffe_id(), "\n", absl::StrJoin(identity.selectors(), "\n"));
  }

  void Compare(const std::string& id, const std::optional<v1::Identity>& wish) {
    const auto* row = tables_.registry.FindIdentity(id);
    if (row != nullptr && !IsOurs(row->record.identity().source())) return;  // no such id of ours
    if (!wish.has_value()) {
      if (row != nullptr) RemoveIdentity(*row);
      return;
    }
    const auto checked =
        CheckIdentity(tables_.registry, *wish,
                      tables_.authorities.LongestLeafOf(tables_.authorities.active(),
                                                        tables_.options.profile.issuer_ttl));
    std::string fault(checked.status().message());
    // CheckIdentity() knows what is stored, not what is about to be.
    if (checked.ok() && !claimed_.insert(ClaimOf(*checked)).second) {
      fault = absl::StrCat("another object gives ", checked->spiffe_id(), " to the same selectors");
    }
    if (!fault.empty()) {
      refusals_.identities[id] = {wish->source(), std::move(fault)};
      if (row != nullptr) Remove(IdentityKey(id), row->revision);
      return;
    }
    state::v1::IdentityRecord record;
    *record.mutable_identity() = *checked;
    record.set_order(row != nullptr ? row->record.order() : tables_.registry.next_order() + new_++);
    const std::string value = record.SerializeAsString();
    if (row != nullptr) {
      state::v1::IdentityRecord held = row->record;
      held.mutable_identity()->clear_revision();  // the registry's own
      if (held.SerializeAsString() == value) return;
    }
    Put(IdentityKey(id), value, row == nullptr ? 0 : row->revision);
  }

  void Compare(const std::pair<std::string, std::string>& pair,
               const std::optional<KubernetesWishes::Rule>& wish) {
    const auto it = tables_.registry.rules().find(pair);
    const auto* row = it == tables_.registry.rules().end() ? nullptr : &it->second;
    const bool is_ours = row != nullptr && IsOurs(row->record.source());
    if (!wish.has_value()) {
      if (is_ours) Remove(PolicyKey(pair.first, pair.second), row->revision);
      return;
    }
    if (row != nullptr && !is_ours) {
      refusals_.rules[pair] = {
          wish->source,
          absl::StrCat("the rule from ", pair.first, " to ", pair.second,
                       " is an operator's (linchpin policy list); delete that one first")};
      return;
    }
    const auto checked = CheckRule(tables_.registry, wish->rule);
    if (!checked.ok()) {
      refusals_.rules[pair] = {wish->source, std::string(checked.status().message())};
      return;
    }
    state::v1::PolicyRecord record;
    *record.mutable_rule() = *checked;
    record.set_source(wish->source);
    const std::string value = record.SerializeAsString();
    if (row != nullptr && row->record.SerializeAsString() == value) return;
    Put(PolicyKey(pair.first, pair.second), value, row == nullptr ? 0 : row->revision);
  }

  void RemoveUnwished() {
    for (const auto& [id, wish] : wishes_.identities) {
      if (!wish.has_value() && !Full()) Compare(id, wish);
    }
    for (const auto& [pair, wish] : wishes_.rules) {
      if (!wish.has_value() && !Full()) Compare(pair, wish);
    }
    if (wishes_.whole) RemoveOthers();
  }

  // What is stored and nobody wishes for any more, as much of it as fits.
  void RemoveOthers() {
    const auto& identities = tables_.registry.identities();
    for (auto it = identities.lower_bound(kIdPrefix);
         it != identities.end() && absl::StartsWith(it->first, kIdPrefix); ++it) {
      if (!IsOurs(it->second.record.identity().source()) ||
          wishes_.identities.contains(it->first)) {
        continue;
      }
      if (Full()) return;
      RemoveIdentity(it->second);
    }
    RemoveIdleInvited();
    for (const auto& [pair, row] : tables_.registry.rules()) {
      if (!IsOurs(row.record.source()) || wishes_.rules.contains(pair)) continue;
      if (Full()) return;
      Remove(PolicyKey(pair.first, pair.second), row.revision);
    }
  }

  const Tables& tables_;
  const KubernetesWishes& wishes_;
  KubernetesRefusals& refusals_;
  uint64_t new_ = 0;
  std::set<std::string> claimed_;
  std::set<std::string> removed_;  // identity ids
  Decision decision_;
};

}  // namespace

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time, const ApplyKubernetes& asked) {
  return Comparison(tables, asked).Decide();
}

}  // namespace linchpin::ca
