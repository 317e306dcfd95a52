// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a cluster's objects, namespaces and pods come to in the registry: for each identity, and
// each node on which a pod runs that has it, one registration that this node alone may issue. Pure.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ca/core/admin_request.h"
#include "ca/kubernetes/objects.h"
#include "kube/pod.h"

namespace linchpin::ca {

// Begins the source of everything in the registry that is of this cluster's objects.
std::string SourcePrefix(const std::string& cluster);

// Not thread-safe. What is put again replaces what was.
class Plan {
 public:
  static constexpr size_t kMaxPods = 200'000;
  static constexpr size_t kMaxObjects = 10'000;  // of each kind
  // Of one namespace, so that who may write there uses up nobody else's.
  static constexpr size_t kMaxPolicies = 1'000;
  static constexpr size_t kMaxRules = 10'000;

  // `default_identity` is a WorkloadIdentity named `default` until the cluster has one of that
  // name.
  Plan(trust::TrustDomain trust_domain, std::string cluster,
       std::optional<WorkloadIdentity> default_identity = std::nullopt);

  void PutNamespace(const std::string& name, LabelMap labels);
  void RemoveNamespace(const std::string& name);
  // RESOURCE_EXHAUSTED: there are too many. INVALID_ARGUMENT: its node or account cannot be named.
  absl::Status PutPod(const kube::Pod& pod);
  void RemovePod(const std::string& uid);
  // An object that cannot be read has its fault instead of a wish.
  // RESOURCE_EXHAUSTED: there are too many.
  absl::Status PutIdentity(const ObjectName& name, absl::StatusOr<WorkloadIdentity> identity);
  absl::Status PutPolicy(const ObjectName& name, absl::StatusOr<PeerPolicy> policy);
  void RemoveObject(const std::string& uid);

  // What may differ from what was taken before; `whole`: everything.
  KubernetesWishes Take(bool whole);
  // These may differ, too: they were refused, and may be good by now.
  void Touch(const KubernetesRefusals& refused);
  bool HasChanges() const { return !touched_identities_.empty() || !touched_rules_.empty(); }

  // How it stands with each object. `refused`: what the registry said.
  std::vector<Standing> Standings(const KubernetesRefusals& refused) const;
  std::string SourceOf(const ObjectName& name, bool is_identity) const;

 private:
  struct PodSeen {
    std::string name_space, account, node;
    LabelMap labels;
    std::set<std::string> identities;  // identity ids that it has
    bool operator==(const PodSeen&) const = default;
  };
  struct IdentityObject {
    ObjectName name;
    absl::StatusOr<WorkloadIdentity> wish;
    size_t registrations = 0;
  };
  struct PolicyObject {
    ObjectName name;
    absl::StatusOr<PeerPolicy> asked;
    absl::StatusOr<PeerPolicy> wish;  // as asked for, or that there is no room
  };
  struct Registration {
    v1::Identity identity;
    std::string object;  // uid
    size_t pods = 0;
  };
  using Pair = std::pair<std::string, std::string>;

  void PutDefault();
  std::string IdentityIdOf(const IdentityObject& object, const PodSeen& pod,
                           const LabelMap& labels) const;
  void Match(PodSeen* pod);
  void Unmatch(PodSeen* pod);
  void MatchAll();
  v1::Identity IdentityFor(const IdentityObject& object, const PodSeen& pod) const;
  void TouchRulesOf(const PolicyObject& object);
  void MakeRoomIn(const std::string& name_space);
  bool CanBeNamed(const kube::Pod& pod) const;

  const trust::TrustDomain trust_domain_;
  const std::string cluster_;
  const std::optional<WorkloadIdentity> default_;
  std::map<std::string, LabelMap> namespaces_;
  std::map<std::string, PodSeen> pods_;                       // by uid
  std::map<std::string, IdentityObject> identities_;          // by uid
  std::map<std::string, PolicyObject> policies_;              // by uid
  std::map<std::string, std::set<std::string>> policies_in_;  // uids by namespace
  std::map<std::string, Registration> registrations_;         // by identity id
  std::set<std::string> touched_identities_;                  // identity ids
  std::set<Pair> touched_rules_;
};

}  // namespace linchpin::ca
