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

// Not thread-safe. What is put again replaces what was.
class Plan {
 public:
  static constexpr size_t kMaxPods = 200'000;
  static constexpr size_t kMaxObjects = 10'000;  // of each kind

  Plan(trust::TrustDomain trust_domain, std::string cluster);

  void PutNamespace(const std::string& name, LabelMap labels);
  void RemoveNamespace(const std::string& name);
  // False: there are too many.
  bool PutPod(const kube::Pod& pod);
  void RemovePod(const std::string& uid);
  // An object that cannot be read has its fault instead of a wish.
  bool PutIdentity(const ObjectName& name, absl::StatusOr<WorkloadIdentity> identity);
  bool PutPolicy(const ObjectName& name, absl::StatusOr<PeerPolicy> policy);
  void RemoveObject(const std::string& uid);

  // What may differ from what was taken before; `whole`: everything.
  KubernetesWishes Take(bool whole);
  bool HasChanges() const { return !touched_identities_.empty() || !touched_rules_.empty(); }

  // How it stands with an object.
  struct Standing {
    ObjectName name;
    bool is_identity = false;
    std::string fault;         // empty: it is in force
    size_t registrations = 0;  // or rules
  };
  // `refused`: what the registry said, by source.
  std::vector<Standing> Standings(const std::map<std::string, std::string>& refused) const;
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
    absl::StatusOr<PeerPolicy> wish;
  };
  struct Registration {
    v1::Identity identity;
    std::string object;  // uid
    size_t pods = 0;
  };
  using Pair = std::pair<std::string, std::string>;

  void Match(PodSeen* pod);
  void Unmatch(PodSeen* pod);
  void MatchAll();
  v1::Identity IdentityFor(const IdentityObject& object, const PodSeen& pod) const;
  void TouchRulesOf(const PolicyObject& object);

  const trust::TrustDomain trust_domain_;
  const std::string cluster_;
  std::map<std::string, LabelMap> namespaces_;
  std::map<std::string, PodSeen> pods_;                // by uid
  std::map<std::string, IdentityObject> identities_;   // by uid
  std::map<std::string, PolicyObject> policies_;       // by uid
  std::map<std::string, Registration> registrations_;  // by identity id
  std::set<std::string> touched_identities_;           // identity ids
  std::set<Pair> touched_rules_;
};

}  // namespace linchpin::ca
