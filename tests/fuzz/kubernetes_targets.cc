// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a cluster's API server and a node's kernel write.

#include "agent/attest/container_cgroup.h"
#include "agent/attest/kubernetes_attestor.h"
#include "ca/kubernetes/objects.h"
#include "kube/answers.h"
#include "kube/pod.h"
#include "kube/watch.h"
#include "tests/fuzz/parsers.h"

namespace linchpin::fuzz {
namespace {

constexpr char kAudience[] = "linchpin-ca";

void Pod(const kube::Json& object) {
  const auto pod = kube::ReadPod(object);
  if (!pod.ok()) return;
  Require(!pod->uid.empty() && !pod->name_space.empty(), "a pod says who it is");
  Require(pod->containers.size() <= kube::kMaxContainers, "containers have a limit");
  for (const std::string& selector : agent::SelectorsOfPod(*pod, "c")) {
    Require(selector.size() < 4096, "a selector has a limit");
  }
}

void Objects(const kube::Json& object) {
  static const auto& domain = *new trust::TrustDomain(*trust::TrustDomain::FromName("example.org"));
  (void)ca::ReadObjectName(object);
  if (const auto identity = ca::ReadWorkloadIdentity(object); identity.ok()) {
    const auto id = trust::SpiffeId::Parse(ca::Filled(identity->id_template, domain, "n", "s"));
    Require(id.ok() && !id->IsReserved(), "a template gives IDs that are not reserved");
  }
  if (const auto policy = ca::ReadPeerPolicy(object, domain); policy.ok()) {
    Require(!policy->rules.empty(), "a policy has a rule");
    for (const trust::v1::PeerRule& rule : policy->rules) {
      Require(rule.inbound() && rule.outbound(), "with both halves");
    }
  }
}

}  // namespace

void ClusterTexts(absl::string_view bytes) {
  if (const auto found = agent::ContainerInCgroup(bytes)) {
    Require(!found->pod_uid.empty() && found->container_id.size() >= 32, "both are named");
    Require(found->pod_uid.find('/') == std::string::npos, "by one segment");
  }
  if (const auto token = kube::ReadTokenReview(bytes, kAudience); token.ok()) {
    Require(!token->pod_uid.empty() && !token->node_uid.empty(), "a token is bound");
  }
  const absl::Status error = kube::ErrorOf(403, "GET", bytes);
  Require(error.message().find('\n') == absl::string_view::npos, "an error is one line");
  if (const auto event = kube::ReadWatchEvent(bytes); event.ok()) {
    Require(!event->version.empty(), "an event has a version");
    Pod(event->object);
  }
  const auto object = kube::ParseObject(bytes, "it");
  if (!object.ok()) return;
  Pod(*object);
  Objects(*object);
}

}  // namespace linchpin::fuzz
