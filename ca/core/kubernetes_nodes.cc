// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/kubernetes_nodes.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

bool IsOf(const google::protobuf::RepeatedPtrField<std::string>& list, const std::string& one) {
  return std::find(list.begin(), list.end(), one) != list.end();
}

absl::Status OtherKey(const std::string& node_id) {
  return absl::PermissionDeniedError(absl::StrCat(
      "a token of that pod was already shown for ", node_id,
      " with another key; if that was not you, ban the node, and delete the agent's pod there: the "
      "next one may bring a key of its own"));
}

// `pod_uid` is the node's pod from here on.
void TakePod(const std::string& pod_uid, state::v1::KubernetesNode* node) {
  if (node->pod_uid() == pod_uid) return;
  auto* earlier = node->mutable_earlier_pods();
  if (!node->pod_uid().empty()) *earlier->Add() = node->pod_uid();
  if (earlier->size() > kMaxEarlierPods) earlier->erase(earlier->begin());
  node->set_pod_uid(pod_uid);
}

}  // namespace

bool IsClusterName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxClusterName &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
         });
}

absl::StatusOr<trust::SpiffeId> KubernetesNodeId(const trust::TrustDomain& trust_domain,
                                                 absl::string_view cluster,
                                                 absl::string_view node_name) {
  if (!IsClusterName(cluster)) {
    return absl::InvalidArgumentError(absl::StrCat(trust::Quoted(cluster),
                                                   " is no cluster's name: 1 to ", kMaxClusterName,
                                                   " of a-z, 0-9 and '-' are expected"));
  }
  return trust::NodeId(trust_domain, absl::StrCat("k8s.", cluster, ".", node_name));
}

absl::StatusOr<state::v1::NodeRecord> AttestedByKubernetes(const Registry& registry,
                                                           const trust::TrustDomain& trust_domain,
                                                           const KubernetesEvidence& evidence,
                                                           const x509::PublicKey& key) {
  ASSIGN_OR_RETURN(const trust::SpiffeId id,
                   KubernetesNodeId(trust_domain, evidence.cluster, evidence.node_name));
  const std::string node_id = id.ToString();
  const std::string pin = key.pin().bytes();
  const auto* row = registry.FindNode(node_id);
  state::v1::NodeRecord node;
  if (row == nullptr) {
    if (registry.nodes().size() >= kMaxNodes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("there are ", kMaxNodes, " nodes; forget those that are gone"));
    }
    node.set_node_id(node_id);
  } else {
    node = row->record;
    if (node.state() == "banned") {
      return absl::PermissionDeniedError(absl::StrCat("the node ", node_id, " is banned"));
    }
    if (!node.has_kubernetes()) {
      return absl::FailedPreconditionError(
          absl::StrCat("the name ", node_id,
                       " was given to another node; forget that one (linchpin node forget)"));
    }
  }
  state::v1::KubernetesNode& kubernetes = *node.mutable_kubernetes();
  kubernetes.set_cluster(evidence.cluster);
  kubernetes.set_node_name(evidence.node_name);
  const bool is_its_key = node.key_sha256() == pin || node.previous_key_sha256() == pin;
  // Whatever the node's uid: a pod may outlive its node's object, which the kubelet makes anew.
  if (!is_its_key && (kubernetes.pod_uid() == evidence.pod_uid ||
                      IsOf(kubernetes.earlier_pods(), evidence.pod_uid))) {
    return OtherKey(node_id);
  }
  kubernetes.set_node_uid(evidence.node_uid);  // another: another machine of that name
  if (!IsOf(kubernetes.earlier_pods(), evidence.pod_uid)) TakePod(evidence.pod_uid, &kubernetes);
  if (!is_its_key) {
    node.set_key_sha256(pin);
    node.clear_previous_key_sha256();
  }
  node.set_attested_by(kAttestedByKubernetes);
  return node;
}

}  // namespace linchpin::ca
