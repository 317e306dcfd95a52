// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How evidence of a node is looked at before the core decides on it: the place where a new way of
// attestation plugs in.
#pragma once

#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "linchpin/ca/v1/node.pb.h"
#include "x509/certificate.h"

namespace linchpin::ca {

// What the evidence comes down to; just one is set.
struct NodeClaim {
  std::string join_token_sha256;  // 32 bytes
  std::optional<x509::Certificate> expired_certificate;
  struct Kubernetes {
    std::string cluster;
    std::string node_name;
    std::string node_uid;
    std::string pod_uid;
  };
  std::optional<Kubernetes> kubernetes;
};

// Safe for concurrent use.
class NodeVerifier {
 public:
  virtual ~NodeVerifier() = default;
  virtual bool Handles(const v1::AttestRequest& request) const = 0;
  // Calls `done` once, at once or later, from any thread. Never logs the evidence.
  using Done = absl::AnyInvocable<void(absl::StatusOr<NodeClaim>)>;
  virtual void Verify(const v1::AttestRequest& request, Done done) = 0;
};

}  // namespace linchpin::ca
