// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The objects of linchpin.dev/v1alpha1, as far as the CA acts on them. Pure. The schemas in
// k8s/crds refuse most of what is refused here, but an object may be older than its schema.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ca/kubernetes/selector.h"
#include "kube/json.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/spiffe_id.h"

namespace linchpin::ca {

inline constexpr char kDefaultIdTemplate[] =
    "spiffe://{trustdomain}/ns/{namespace}/sa/{serviceaccount}";

struct ObjectName {
  std::string uid;
  std::string name_space;  // empty: of the whole cluster
  std::string name;
  int64_t generation = 0;
  bool operator==(const ObjectName&) const = default;
  std::string Text() const;  // NAMESPACE/NAME or NAME
};
// INVALID_ARGUMENT: it has no uid or name.
absl::StatusOr<ObjectName> ReadObjectName(const kube::Json& object);

inline constexpr char kObjectsGroup[] = "linchpin.dev/v1alpha1";

struct ObjectKind {
  const char* name;    // PeerPolicy
  const char* plural;  // peerpolicies
  bool operator==(const ObjectKind&) const = default;
};

// How it stands with an object.
struct Standing {
  ObjectName name;
  ObjectKind kind;
  std::string fault;   // empty: it is in force
  kube::Json figures;  // of the status, beside its condition
  bool operator==(const Standing&) const = default;
};

// Which pods get which identity.
struct WorkloadIdentity {
  std::string id_template;  // {trustdomain}, {namespace}, {serviceaccount}
  LabelSelector namespaces;
  // A node must see the same of a process, so nothing here asks for the absence of a label.
  LabelSelector pods;
  int64_t ttl_seconds = 0;
  std::vector<std::string> dns_names;  // with the same placeholders
  bool operator==(const WorkloadIdentity&) const = default;
};
// INVALID_ARGUMENT names the field.
absl::StatusOr<WorkloadIdentity> ReadWorkloadIdentity(const kube::Json& object);

// The default template for all pods of the namespaces that have this label, NAME=VALUE.
WorkloadIdentity IdentityOfLabel(absl::string_view label);

// Who may call a service of the object's own namespace.
struct PeerPolicy {
  std::vector<trust::v1::PeerRule> rules;
};
absl::StatusOr<PeerPolicy> ReadPeerPolicy(const kube::Json& object,
                                          const trust::TrustDomain& trust_domain);

// The template with what it stands for.
std::string Filled(absl::string_view text, const trust::TrustDomain& trust_domain,
                   absl::string_view name_space, absl::string_view account);

}  // namespace linchpin::ca
