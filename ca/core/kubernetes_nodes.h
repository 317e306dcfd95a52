// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Nodes of a Kubernetes cluster: their names, and which key speaks for one. Pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ca/core/events.h"
#include "ca/core/registry.h"
#include "trust/spiffe_id.h"
#include "x509/key.h"

namespace linchpin::ca {

inline constexpr char kAttestedByKubernetes[] = "k8s_psat";
inline constexpr size_t kMaxClusterName = 32;
inline constexpr int kMaxEarlierPods = 8;
inline constexpr size_t kMaxNodes = 100'000;
// Of which so many may be known by a pod's word alone: whoever makes pods may make names up.
inline constexpr size_t kMaxInvited = 20'000;

// 1 to 32 of a-z, 0-9 and '-', so that the first dot of a node's name ends it.
bool IsClusterName(absl::string_view name);

// spiffe://TD/linchpin/node/k8s.CLUSTER.NODE. INVALID_ARGUMENT: what cannot be a name.
absl::StatusOr<trust::SpiffeId> KubernetesNodeId(const trust::TrustDomain& trust_domain,
                                                 absl::string_view cluster,
                                                 absl::string_view node_name);

// The node's record as this evidence makes it; all but its certificate and the time. A pod speaks
// for one key: whoever shows its token with another is refused. Another pod of the same node may
// have another key, which is the node's from then on. PERMISSION_DENIED: banned, a pod that was
// there before, another key; FAILED_PRECONDITION: an operator gave that name to another node.
absl::StatusOr<state::v1::NodeRecord> AttestedByKubernetes(const Registry& registry,
                                                           const trust::TrustDomain& trust_domain,
                                                           const KubernetesEvidence& evidence,
                                                           const x509::PublicKey& key);

}  // namespace linchpin::ca
