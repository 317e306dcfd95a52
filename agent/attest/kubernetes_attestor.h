// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// k8s:ns:NAMESPACE, k8s:sa:ACCOUNT, k8s:pod-name:NAME, k8s:pod-uid:UID, k8s:pod-label:KEY:VALUE,
// k8s:node-name:NODE; and, as soon as the API server knows the container,
// k8s:container-name:NAME and k8s:container-image:IMAGE (as the pod asks for it, and as it runs,
// with its digest). Beside what another attestor says of the process.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/attest/pod_table.h"
#include "agent/attest/workload_attestor.h"

namespace linchpin::agent {

// Pure. The container's own only where its id is that of one of the pod's.
std::vector<std::string> SelectorsOfPod(const kube::Pod& pod, const std::string& container_id);

class KubernetesAttestor final : public WorkloadAttestor {
 public:
  // Both outlive this object.
  KubernetesAttestor(WorkloadAttestor& process, const PodTable& pods)
      : process_(process), pods_(pods) {}

  absl::string_view Kind() const override { return "k8s"; }
  absl::StatusOr<Attested> Attest(const PeerProcess& peer, bool want_hash) override;
  std::optional<absl::StatusOr<Attested>> AttestAtOnce(const PeerProcess& peer,
                                                       bool want_hash) override;

 private:
  absl::StatusOr<Attested> WithPod(const PeerProcess& peer, absl::StatusOr<Attested> attested);

  WorkloadAttestor& process_;
  const PodTable& pods_;
};

}  // namespace linchpin::agent
