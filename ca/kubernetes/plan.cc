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
constexpr ObjectKind kWorkloadIdentity{"WorkloadIdentity", "workloadidentities"};
constexpr ObjectKind kPeerPolicy{"PeerPolicy", "peerpolicies"};

// The name of the object that is there until the cluster has one of that name.
constexpr char kDefault[] = "default";
constexpr char kDefaultUid[] = "";  // no object has none

absl::Status TooMany(absl::string_view what) {
  return absl::ResourceExhaustedError(absl::StrCat("there are too many ", what, " to be kept"));
}

}  // namespace

std::string SourcePrefix(const std::string& cluster) {
  return absl::StrCat("kubernetes/", cluster, "/");
}

Plan::Plan(trust::TrustDomain trust_domain, std::string cluster,
           std::optional<WorkloadIdentity> default_identity)
    : trust_domain_(std::move(trust_domain)),
      cluster_(std::move(cluster)),
      default_(std::move(default_identity)) {
  PutDefault();
}

// Unless the cluster has an object of that name.
void Plan::PutDefault() {
  if (!default_.has_value()) return;
  for (const auto& [uid, object] : identities_) {
    if (object.name.name == kDefault) return;
  }
  identities_.emplace(kDefaultUid,
                      IdentityObject{{.uid = kDefaultUid, .name = kDefault}, *default_});
}

// The same again after a restart, and where an object is made anew under its name; and of no other.
std::string Plan::IdentityIdOf(const IdentityObject& object, const PodSeen& pod,
                               const LabelMap& labels) const {
  x509::FieldHasher hasher("linchpin kubernetes registration v2");
  hasher.Add(cluster_).Add(object.name.name).Add(pod.name_space).Add(pod.account).Add(pod.node);
  for (const auto& [key, value] : labels) hasher.Add(key).Add(value);
  return absl::StrCat("k8s-", absl::BytesToHexString(hasher.Finish().substr(0, kIdBytes)));
}

std::string Plan::SourceOf(const ObjectName& name, bool is_identity) const {
  return absl::StrCat(SourcePrefix(cluster_), is_identity ? "WorkloadIdentity/" : "PeerPolicy/",
                      name.Text());
}

v1::Identity Plan::IdentityFor(const IdentityObject& object, const PodSeen& pod) const {
  const WorkloadIdentity& wish = *object.wish;
  const LabelMap labels = LookedAt(wish.pods, pod.labels);
  v1::Identity identity;
  identity.set_identity_id(IdentityIdOf(object, pod, labels));
  identity.set_spiffe_id(Filled(wish.id_template, trust_domain_, pod.name_space, pod.account));
  identity.add_selectors(absl::StrCat("k8s:ns:", pod.name_space));
  identity.add_selectors(absl::StrCat("k8s:sa:", pod.account));
  identity.add_selectors(absl::StrCat("k8s:node-name:", pod.node));
  for (const auto& [key, value] : labels) {
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
    if (!object.wish.ok() || !Selects(object.wish->namespaces, labels->second) ||
        !Selects(object.wish->pods, pod->labels)) {
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

// Of what is longer or other than a name may be, the registry would refuse each registration again
// and again.
bool Plan::CanBeNamed(const kube::Pod& pod) const {
  return KubernetesNodeId(trust_domain_, cluster_, pod.node).ok() &&
         trust::SpiffeId::Parse(
             Filled(kDefaultIdTemplate, trust_domain_, pod.name_space, pod.account))
             .ok();
}

absl::Status Plan::PutPod(const kube::Pod& pod) {
  // Admission gives every pod an account but those that a kubelet wrote itself: mirrors of its
  // static pods, in any namespace and with any labels. A node's word for what runs on it is none.
  if (pod.over || pod.node.empty() || pod.account.empty()) {
    RemovePod(pod.uid);
    return absl::OkStatus();
  }
  if (!CanBeNamed(pod)) {
    RemovePod(pod.uid);
    return absl::InvalidArgumentError(
        absl::StrCat("the pod ", pod.name_space, "/", pod.name,
                     " has a node or a service account whose name fits into no SPIFFE ID"));
  }
  PodSeen seen{pod.name_space, pod.account, pod.node, pod.labels, {}};
  const auto it = pods_.find(pod.uid);
  if (it == pods_.end()) {
    if (pods_.size() >= kMaxPods) return TooMany("pods");
    Match(&(pods_[pod.uid] = std::move(seen)));
    return absl::OkStatus();
  }
  seen.identities = it->second.identities;
  if (seen == it->second) return absl::OkStatus();
  Unmatch(&it->second);
  seen.identities.clear();
  it->second = std::move(seen);
  Match(&it->second);
  return absl::OkStatus();
}

void Plan::RemovePod(const std::string& uid) {
  const auto it = pods_.find(uid);
  if (it == pods_.end()) return;
  Unmatch(&it->second);
  pods_.erase(it);
}

absl::Status Plan::PutIdentity(const ObjectName& name, absl::StatusOr<WorkloadIdentity> identity) {
  const auto it = identities_.find(name.uid);
  if (it == identities_.end()) {
    if (identities_.size() >= kMaxObjects) return TooMany("WorkloadIdentities");
    if (name.name == kDefault) RemoveObject(kDefaultUid);
    identities_.emplace(name.uid, IdentityObject{name, std::move(identity)});
  } else {
    const bool same = identity.ok() && it->second.wish.ok() && *identity == *it->second.wish;
    it->second.name = name;
    if (same) return absl::OkStatus();
    for (auto& [uid, pod] : pods_) Unmatch(&pod);
    it->second.wish = std::move(identity);
  }
  MatchAll();
  return absl::OkStatus();
}

void Plan::TouchRulesOf(const PolicyObject& object) {
  if (!object.wish.ok()) return;
  for (const trust::v1::PeerRule& rule : object.wish->rules) {
    touched_rules_.insert({rule.from(), rule.to()});
  }
}

absl::Status Plan::PutPolicy(const ObjectName& name, absl::StatusOr<PeerPolicy> policy) {
  const auto it = policies_.find(name.uid);
  if (it != policies_.end()) {
    if (it->second.name.generation == name.generation) return absl::OkStatus();
    TouchRulesOf(it->second);
  } else if (policies_.size() >= kMaxObjects) {
    return TooMany("PeerPolicies");
  } else if (policies_in_[name.name_space].size() >= kMaxPolicies) {
    return TooMany(absl::StrCat("PeerPolicies in the namespace ", name.name_space));
  }
  PolicyObject object{name, policy, std::move(policy)};
  TouchRulesOf(object);
  policies_.insert_or_assign(name.uid, std::move(object));
  policies_in_[name.name_space].insert(name.uid);
  MakeRoomIn(name.name_space);
  return absl::OkStatus();
}

// In order of their uids, always the same ones of what is there.
void Plan::MakeRoomIn(const std::string& name_space) {
  size_t rules = 0;
  for (const std::string& uid : policies_in_[name_space]) {
    PolicyObject& object = policies_.at(uid);
    if (!object.asked.ok()) continue;
    rules += object.asked->rules.size();
    const bool fits = rules <= kMaxRules;
    if (!fits) rules -= object.asked->rules.size();
    if (fits == object.wish.ok()) continue;
    TouchRulesOf(object);
    if (fits) {
      object.wish = object.asked;
    } else {
      object.wish = absl::ResourceExhaustedError(absl::StrCat("the PeerPolicies of the namespace ",
                                                              name_space, " come to more than ",
                                                              kMaxRules, " rules; delete some"));
    }
    TouchRulesOf(object);
  }
}

void Plan::Touch(const KubernetesRefusals& refused) {
  for (const auto& [id, refusal] : refused.identities) touched_identities_.insert(id);
  for (const auto& [pair, refusal] : refused.rules) touched_rules_.insert(pair);
}

void Plan::RemoveObject(const std::string& uid) {
  const auto policy = policies_.find(uid);
  if (policy != policies_.end()) {
    TouchRulesOf(policy->second);
    const std::string name_space = policy->second.name.name_space;
    policies_.erase(policy);
    policies_in_[name_space].erase(uid);
    MakeRoomIn(name_space);
    if (policies_in_[name_space].empty()) policies_in_.erase(name_space);
  }
  if (identities_.count(uid) == 0) return;
  for (auto& [pod_uid, pod] : pods_) Unmatch(&pod);
  identities_.erase(uid);
  if (uid != kDefaultUid) PutDefault();
  MatchAll();
}

KubernetesWishes Plan::Take(bool whole) {
  KubernetesWishes wishes{.source = SourcePrefix(cluster_), .whole = whole};
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

std::vector<Standing> Plan::Standings(const KubernetesRefusals& refused) const {
  std::map<std::string, std::string> faults;  // by source
  for (const auto& [id, refusal] : refused.identities) faults[refusal.source] = refusal.why;
  for (const auto& [pair, refusal] : refused.rules) faults[refusal.source] = refusal.why;
  std::vector<Standing> standings;
  const auto add = [&](const ObjectName& name, bool is_identity, const absl::Status& read,
                       size_t count) {
    Standing standing{.name = name,
                      .kind = is_identity ? kWorkloadIdentity : kPeerPolicy,
                      .figures = {{is_identity ? "registrations" : "rules", count}}};
    const auto said = faults.find(SourceOf(name, is_identity));
    if (!read.ok()) {
      standing.fault = std::string(read.message());
    } else if (said != faults.end()) {
      standing.fault = said->second;
    }
    standings.push_back(std::move(standing));
  };
  for (const auto& [uid, object] : identities_) {
    if (uid == kDefaultUid) continue;  // nobody's object
    add(object.name, true, object.wish.status(), object.registrations);
  }
  for (const auto& [uid, object] : policies_) {
    add(object.name, false, object.wish.status(), object.wish.ok() ? object.wish->rules.size() : 0);
  }
  return standings;
}

}  // namespace linchpin::ca
