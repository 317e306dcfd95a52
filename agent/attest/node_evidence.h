// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a node proves itself to the CA by. Files are read at each attempt: tokens are replaced.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "linchpin/ca/v1/node.pb.h"

namespace linchpin::agent {

// Adds it to a request, or says why it cannot.
using NodeEvidence = std::function<absl::Status(ca::v1::AttestRequest*)>;

NodeEvidence EvidenceByJoinToken(std::string file);
// A projected service-account token, which the kubelet replaces before it expires.
NodeEvidence EvidenceByKubernetes(std::string cluster, std::string file);

// The token alone, without the white space around it. INVALID_ARGUMENT names the file: empty, over
// 4 KiB, or more than one word. The token is never quoted.
absl::StatusOr<std::string> ReadJoinToken(const std::string& file);

}  // namespace linchpin::agent
