// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/policy_coverage.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ca/core/coverage_gate.h"
#include "ca/core/epoch_history.h"
#include "ca/core/restored.h"
#include "trust/mtls_context.h"
#include "trust/peer_policy.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMostServicesNamed = 3;
constexpr size_t kMostIdentities = 1024;  // of a process, as agents have it

std::string ProcessOf(const std::string& consumer_id) {
  return consumer_id.substr(0, consumer_id.rfind('/'));
}

// What services say that enforce the rules of now (agent/core).
class RulesOfNow {
 public:
  explicit RulesOfNow(const Registry& registry) : registry_(registry) {}

  // Of a process with these identities; empty: one of them is no SPIFFE ID, or no process has so
  // many.
  std::string DigestOf(const std::set<std::string>& spiffe_ids) {
    if (spiffe_ids.size() > kMostIdentities) return "";
    const auto [it, fresh] = digests_.try_emplace(spiffe_ids);
    if (fresh) it->second = Compute(spiffe_ids);
    return it->second;
  }

 private:
  std::string Compute(const std::set<std::string>& spiffe_ids) const {
    std::map<trust::SpiffeId, trust::PeerPolicy> policies;
    for (const std::string& spiffe_id : spiffe_ids) {
      const absl::StatusOr<trust::SpiffeId> id = trust::SpiffeId::Parse(spiffe_id);
      if (!id.ok()) return "";
      std::set<Registry::RuleKey> keys;
      registry_.AddRulesOf(spiffe_id, &keys);
      std::vector<trust::v1::PeerRule> rules;
      for (const Registry::RuleKey& key : keys) {
        rules.push_back(registry_.rules().at(key).record.rule());
      }
      auto policy = trust::PeerPolicy::ForIdentity(*id, rules);
      if (!policy.ok()) return "";
      policies.emplace(*id, *std::move(policy));
    }
    return trust::TrustDigest({}, policies);
  }

  const Registry& registry_;
  std::map<std::set<std::string>, std::string> digests_;
};

// Why a service is not shown to enforce the rules of now, by their digest; empty: it is.
std::string WhyNot(const ConsumerHolds& consumer, const std::string& now_digest, absl::Time now) {
  const std::string& who = consumer.said.spiffe_id();
  if (consumer.said.evidence() == v1::NONE) {
    return absl::StrCat("nothing shows what ", who, " enforces");
  }
  if (now_digest.empty() || consumer.said.trust_digest() != now_digest) {
    return absl::StrCat("nothing shows that ", who, " enforces the rules of now");
  }
  if (consumer.said.evidence() == v1::DELIVERED && now < consumer.since + Coverage::kSettling) {
    return absl::StrCat(who, " was given its rules at ", trust::TimeText(consumer.since),
                        " (assumed after ", absl::FormatDuration(Coverage::kSettling), ")");
  }
  return "";
}

// By consumer id.
std::map<std::string, std::string> WhyNotOf(const NodeHolds& node, RulesOfNow& rules,
                                            absl::Time now) {
  std::map<std::string, std::set<std::string>> identities;  // by process
  for (const auto& [id, consumer] : node.consumers) {
    identities[ProcessOf(id)].insert(consumer.said.spiffe_id());
  }
  std::map<std::string, std::string> digests;
  for (const auto& [process, spiffe_ids] : identities) {
    digests[process] = rules.DigestOf(spiffe_ids);
  }
  std::map<std::string, std::string> why;
  for (const auto& [id, consumer] : node.consumers) {
    why[id] = WhyNot(consumer, digests[ProcessOf(id)], now);
  }
  return why;
}

std::string LateServices(const std::map<std::string, std::string>& why_not) {
  std::string text;
  size_t late = 0;
  for (const auto& [id, why] : why_not) {
    if (why.empty() || ++late > kMostServicesNamed) continue;
    absl::StrAppend(&text, late == 1 ? "" : "; ", why);
  }
  if (late > kMostServicesNamed) {
    absl::StrAppend(&text, "; ", late - kMostServicesNamed, " more services are late");
  }
  return text;
}

// Why a node that says something does not have the revision; empty: it has.
std::string WhyLate(const Registry& registry, const NodeHolds& node, uint64_t revision,
                    const std::map<std::string, std::string>& why_not) {
  std::string why;
  if (const uint64_t held = RevisionHeld(registry, node); held < revision) {
    why = absl::StrCat("holds revision ", held);
  } else if (node.too_many_consumers) {
    why = absl::StrCat("speaks of more services than are kept account of (",
                       Coverage::kMaxConsumers, ")");
  } else {
    why = LateServices(why_not);
  }
  if (why.empty() || node.connected) return why;
  return absl::StrCat("is silent since ", trust::TimeText(node.last_seen), "; ", why);
}

v1::NodeCoverage OfNode(const CoverageView& view, const state::v1::NodeRecord& record,
                        uint64_t revision, RulesOfNow& rules, absl::Time now) {
  v1::NodeCoverage node;
  node.set_node_id(record.node_id());
  node.set_leaves_at(absl::ToUnixSeconds(LeavesAt(view, record)));
  const NodeHolds* holds = view.coverage.Find(record.node_id());
  if (holds != nullptr && holds->last_seen > absl::UnixEpoch()) {
    node.set_last_seen(absl::ToUnixSeconds(holds->last_seen));
  }
  if (holds == nullptr || !holds->heard) {
    node.set_why_late("has not been heard of since this CA started");
    return node;
  }
  const std::map<std::string, std::string> why_not = WhyNotOf(*holds, rules, now);
  node.set_connected(holds->connected);
  node.set_epoch_held(holds->trust_epoch);
  node.set_revision_held(RevisionHeld(view.registry, *holds));
  node.set_why_late(WhyLate(view.registry, *holds, revision, why_not));
  node.set_covered(node.why_late().empty());
  for (const auto& [id, consumer] : holds->consumers) {
    v1::Consumer* told = node.add_consumers();
    *told = consumer.said;
    told->set_current(why_not.at(id).empty());
  }
  return node;
}

}  // namespace

uint64_t RevisionHeld(const Registry& registry, const NodeHolds& node) {
  if (node.revision > node.sent) return 0;  // of another past
  if (node.trust_epoch == 0) return 0;      // the rest of its services comes yet
  const bool all = node.connected && node.revision == node.sent && node.sent > 0;
  return all ? registry.revision() : node.revision;
}

absl::StatusOr<v1::Coverage> PolicyCoverage(const CoverageView& view, uint64_t revision,
                                            absl::Time now) {
  const Registry& registry = view.registry;
  if (revision == 0) revision = registry.policy_revision();
  if (revision > registry.revision()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "revision ", revision, " is not there yet; the present one is ", registry.revision()));
  }
  RulesOfNow rules(registry);
  v1::Coverage answer;
  answer.set_revision(revision);
  v1::CoverageCount& count = *answer.mutable_count();
  std::vector<v1::NodeCoverage> silent, covered;
  for (const auto& [node_id, row] : registry.nodes()) {
    if (row.record.state() != "attested") continue;
    v1::NodeCoverage node = OfNode(view, row.record, revision, rules, now);
    if (!Counts(view, row.record, now)) {
      if (!node.covered()) *answer.add_left() = std::move(node);
      continue;
    }
    count.set_nodes(count.nodes() + 1);
    count.set_nodes_covered(count.nodes_covered() + (node.covered() ? 1 : 0));
    for (const v1::Consumer& service : node.consumers()) {
      CountService(service, service.current(), &count);
    }
    if (node.covered()) {
      covered.push_back(std::move(node));
    } else if (node.connected()) {
      *answer.add_nodes() = std::move(node);
    } else {
      silent.push_back(std::move(node));
    }
  }
  for (v1::NodeCoverage& node : silent) *answer.add_nodes() = std::move(node);
  for (v1::NodeCoverage& node : covered) *answer.add_nodes() = std::move(node);
  answer.set_complete(count.nodes() == count.nodes_covered());
  if (const absl::Time until = UnknownUntil(registry) + kClocksDiffer; now < until) {
    answer.set_restored_at(registry.meta().restored_at());
    answer.set_unknown_until(absl::ToUnixSeconds(until));
  }
  return answer;
}

}  // namespace linchpin::ca
