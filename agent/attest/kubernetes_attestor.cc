// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/attest/kubernetes_attestor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/attest/container_cgroup.h"
#include "base/durable_file.h"

namespace linchpin::agent {
namespace {

constexpr size_t kMaxCgroup = 64 * 1024;

}  // namespace

std::vector<std::string> SelectorsOfPod(const kube::Pod& pod, const std::string& container_id) {
  std::vector<std::string> selectors = {
      absl::StrCat("k8s:ns:", pod.name_space), absl::StrCat("k8s:pod-name:", pod.name),
      absl::StrCat("k8s:pod-uid:", pod.uid), absl::StrCat("k8s:node-name:", pod.node)};
  if (!pod.account.empty()) selectors.push_back(absl::StrCat("k8s:sa:", pod.account));
  for (const auto& [key, value] : pod.labels) {
    selectors.push_back(absl::StrCat("k8s:pod-label:", key, ":", value));
  }
  for (const kube::Container& container : pod.containers) {
    if (container.id.empty() || container.id != container_id) continue;
    selectors.push_back(absl::StrCat("k8s:container-name:", container.name));
    selectors.push_back(absl::StrCat("k8s:container-image:", container.image));
    if (!container.image_id.empty() && container.image_id != container.image) {
      selectors.push_back(absl::StrCat("k8s:container-image:", container.image_id));
    }
  }
  return selectors;
}

absl::StatusOr<Attested> KubernetesAttestor::WithPod(const PeerProcess& peer,
                                                     absl::StatusOr<Attested> attested) {
  if (!attested.ok()) return attested;
  const auto cgroup = base::ReadFile(absl::StrCat("/proc/", peer.pid, "/cgroup"), kMaxCgroup);
  // Whatever was read of the pid was read of this process only if it has lived all the while.
  if (!peer.is_alive()) {
    return absl::UnauthenticatedError(
        absl::StrCat("the process that connected (pid ", peer.pid, ") has ended"));
  }
  if (!cgroup.ok()) {
    return absl::UnavailableError(absl::StrCat("the control group of pid ", peer.pid,
                                               " cannot be read: ", cgroup.status().message()));
  }
  const std::optional<PodContainer> container = ContainerInCgroup(*cgroup);
  if (!container.has_value()) return attested;  // a process of the node itself
  attested->group = container->pod_uid;         // known or not: it is looked at again
  const std::shared_ptr<const kube::Pod> pod = pods_.Find(container->pod_uid);
  if (pod == nullptr) return attested;
  std::vector<std::string>& all = attested->selectors;
  for (std::string& selector : SelectorsOfPod(*pod, container->container_id)) {
    all.push_back(std::move(selector));
  }
  std::sort(all.begin(), all.end());
  return attested;
}

absl::StatusOr<Attested> KubernetesAttestor::Attest(const PeerProcess& peer, bool want_hash) {
  return WithPod(peer, process_.Attest(peer, want_hash));
}

std::optional<absl::StatusOr<Attested>> KubernetesAttestor::AttestAtOnce(const PeerProcess& peer,
                                                                         bool want_hash) {
  std::optional<absl::StatusOr<Attested>> attested = process_.AttestAtOnce(peer, want_hash);
  if (!attested.has_value()) return std::nullopt;
  return WithPod(peer, *std::move(attested));
}

}  // namespace linchpin::agent
