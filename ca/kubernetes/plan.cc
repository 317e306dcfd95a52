// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/kubernetes/plan.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "ca/core/kubernetes_nodes.h"
#include "x509/digest.h"

namespace linchpin::ca {
namespace {

constexpr size_t kIdBytes = 12;

// The same again after a restart, and of no other.
std::string IdentityIdOf(const std::string& cluster, const std::string& object,
                         const std::string& name_space, const std::string& account,
                         const std::string& node) {
  const std::string hash = x509::FieldHasher("linchpin kubernetes registration v1")
                               .Add(cluster)
                               .Add(object)
                               .Add(name_space)
                               .Add(account)
                               .Add(node)
                               .Finish();
  return absl::StrCat("k8s-", absl::BytesToHexString(hash.substr(0, kIdBytes)));
}

}  // namespace

Plan::Plan(trust::TrustDomain trust_domain, std::string cluster)
    : trust_domain_(std::move(trust_domain)), cluster_(std::move(cluster)) {}

std::string Plan::SourceOf(const ObjectName& name, bool is_identity) const {
  return absl::StrCat("kubernetes/", cluster_, is_identity ? "/WorkloadIdentity/" : "/PeerPolicy/",
                      name.Text());
}

v1::Identity Plan::IdentityFor(const IdentityObject& object, const PodSeen& pod) const {
  const WorkloadIdentity& wish = *object.wish;
  v1::Identity identity;
  identity.set_identity_id(
      IdentityIdOf(cluster_, object.name.uid, pod.name_space, pod.account, pod.node));
  identity.set_spiffe_id(Filled(wish.id_template, trust_domain_, pod.name_space, pod.account));
  identity.add_selectors(absl::StrCat("k8s:ns:", pod.name_space));
  identity.add_selectors(absl::StrCat("k8s:sa:", pod.account));
  identity.add_selectors(absl::StrCat("k8s:node-name:", pod.node));
  for (const auto& [key, value] : wish.pod_labels) {
    identity.add_selectors(absl::StrCat("k8s:pod-label:", key, ":", value));
  }
  identity.set_ttl_seconds(wish.ttl_seconds);
  for (const std::string& name : wish.dns_names) {
    identity.add_dns_names(Filled(name, trust_domain_, pod.name_space, pod.account));
  }
  std::sort(identity.mutable_selectors()->begin(), identity.mutable_selectors()->end());
  std::sort(identity.mutable_dns_names()->begin(), identity.mutable_dns_names()->end());
  const auto node = KubernetesNodeId(trust_domain_, cluster_, pod.node);
  if (node.ok()) identity.add_node_ids(node->ToString());
  identity.set_source(SourceOf(object.name, true));
  return identity;
}

void Plan::Match(PodSeen* pod) {
  const auto labels = namespaces_.find(pod->name_space);
  if (labels == namespaces_.end() || pod->node.empty()) return;
  for (auto& [uid, object] : identities_) {
    if (!object.wish.ok() || !HasLabels(labels->second, object.wish->namespace_labels) ||
        !HasLabels(pod->labels, object.wish->pod_labels)) {
      continue;
    }
    v1::Identity identity = IdentityFor(object, *pod);
    const std::string id = identity.identity_id();
    if (!pod->identities.insert(id).second) continue;
    Registration& registration = registrations_[id];
    if (registration.pods++ > 0) continue;
    registration.identity = std::move(identity);
    registration.object = uid;
    ++object.registrations;
    touched_identities_.insert(id);
  }
}

void Plan::Unmatch(PodSeen* pod) {
  for (const std::string& id : pod->identities) {
    const auto it = registrations_.find(id);
    if (--it->second.pods > 0) continue;
    const auto object = identities_.find(it->second.object);
    if (object != identities_.end()) --object->second.registrations;
    registrations_.erase(it);
    touched_identities_.insert(id);
  }
  pod->identities.clear();
}

void Plan::MatchAll() {
  for (auto& [uid, pod] : pods_) Unmatch(&pod);
  for (auto& [uid, pod] : pods_) Match(&pod);
}

void Plan::PutNamespace(const std::string& name, LabelMap labels) {
  const auto it = namespaces_.find(name);
  if (it != namespaces_.end() && it->second == labels) return;
  namespaces_[name] = std::move(labels);
  for (auto& [uid, pod] : pods_) {
    if (pod.name_space != name) continue;
    Unmatch(&pod);
    Match(&pod);
  }
}

void Plan::RemoveNamespace(const std::string& name) {
  if (namespaces_.erase(name) == 0) return;
  for (auto& [uid, pod] : pods_) {
    if (pod.name_space == name) Unmatch(&pod);
  }
}

bool Plan::PutPod(const kube::Pod& pod) {
  // Admission gives every pod an account but those that a kubelet wrote itself: mirrors of its
  // static pods, in any namespace and with any labels. A node's word for what runs on it is none.
  if (pod.over || pod.node.empty() || pod.account.empty()) {
    RemovePod(pod.uid);
    return true;
  }
  PodSeen seen{pod.name_space, pod.account, pod.node, pod.labels, {}};
  const auto it = pods_.find(pod.uid);
  if (it == pods_.end()) {
    if (pods_.size() >= kMaxPods) return false;
    Match(&(pods_[pod.uid] = std::move(seen)));
    return true;
  }
  seen.identities = it->second.identities;
  if (seen == it->second) return true;
  Unmatch(&it->second);
  seen.identities.clear();
  it->second = std::move(seen);
  Match(&it->second);
  return true;
}

void Plan::RemovePod(const std::string& uid) {
  const auto it = pods_.find(uid);
  if (it == pods_.end()) return;
  Unmatch(&it->second);
  pods_.erase(it);
}

bool Plan::PutIdentity(const ObjectName& name, absl::StatusOr<WorkloadIdentity> identity) {
  const auto it = identities_.find(name.uid);
  if (it == identities_.end()) {
    if (identities_.size() >= kMaxObjects) return false;
    identities_.emplace(name.uid, IdentityObject{name, std::move(identity)});
  } else {
    const bool same = identity.ok() && it->second.wish.ok() && *identity == *it->second.wish;
    it->second.name = name;
    if (same) return true;
    for (auto& [uid, pod] : pods_) Unmatch(&pod);
    it->second.wish = std::move(identity);
  }
  MatchAll();
  return true;
}

void Plan::TouchRulesOf(const PolicyObject& object) {
  if (!object.wish.ok()) return;
  for (const trust::v1::PeerRule& rule : object.wish->rules) {
    touched_rules_.insert({rule.from(), rule.to()});
  }
}

bool Plan::PutPolicy(const ObjectName& name, absl::StatusOr<PeerPolicy> policy) {
  const auto it = policies_.find(name.uid);
  if (it == policies_.end() && policies_.size() >= kMaxObjects) return false;
  if (it != policies_.end()) {
    if (it->second.name.generation == name.generation) return true;
    TouchRulesOf(it->second);
  }
  PolicyObject object{name, std::move(policy)};
  TouchRulesOf(object);
  policies_.insert_or_assign(name.uid, std::move(object));
  return true;
}

void Plan::RemoveObject(const std::string& uid) {
  const auto policy = policies_.find(uid);
  if (policy != policies_.end()) {
    TouchRulesOf(policy->second);
    policies_.erase(policy);
  }
  if (identities_.count(uid) == 0) return;
  for (auto& [pod_uid, pod] : pods_) Unmatch(&pod);
  identities_.erase(uid);
  MatchAll();
}

KubernetesWishes Plan::Take(bool whole) {
  KubernetesWishes wishes{.source = absl::StrCat("kubernetes/", cluster_, "/"), .whole = whole};
  if (whole) {
    for (const auto& [id, registration] : registrations_) touched_identities_.insert(id);
    for (const auto& [uid, object] : policies_) TouchRulesOf(object);
  }
  for (const std::string& id : touched_identities_) {
    const auto it = registrations_.find(id);
    wishes.identities[id] =
        it == registrations_.end() ? std::nullopt : std::make_optional(it->second.identity);
  }
  for (const Pair& pair : touched_rules_) wishes.rules[pair] = std::nullopt;
  // Two objects may wish for one pair: the one that comes first by uid has it, always the same.
  for (const auto& [uid, object] : policies_) {
    if (!object.wish.ok()) continue;
    for (const trust::v1::PeerRule& rule : object.wish->rules) {
      const auto it = wishes.rules.find({rule.from(), rule.to()});
      if (it == wishes.rules.end() || it->second.has_value()) continue;
      it->second = KubernetesWishes::Rule{rule, SourceOf(object.name, false)};
    }
  }
  touched_identities_.clear();
  touched_rules_.clear();
  return wishes;
}

std::vector<Plan::Standing> Plan::Standings(
    const std::map<std::string, std::string>& refused) const {
  std::vector<Standing> standings;
  const auto add = [&](const ObjectName& name, bool is_identity, const absl::Status& read,
                       size_t count) {
    Standing standing{.name = name, .is_identity = is_identity, .registrations = count};
    const auto said = refused.find(SourceOf(name, is_identity));
    if (!read.ok()) {
      standing.fault = std::string(read.message());
    } else if (said != refused.end()) {
      standing.fault = said->second;
    }
    standings.push_back(std::move(standing));
  };
  for (const auto& [uid, object] : identities_) {
    add(object.name, true, object.wish.status(), object.registrations);
  }
  for (const auto& [uid, object] : policies_) {
    add(object.name, false, object.wish.status(), object.wish.ok() ? object.wish->rules.size() : 0);
  }
  return standings;
}

}  // namespace linchpin::ca
