// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What may enter the registry: the checks of operators' requests against its tables. Pure. Errors
// quote the entry and say what is expected.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "ca/core/registry.h"
#include "linchpin/ca/v1/admin.pb.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/spiffe_id.h"

namespace linchpin::ca {

// Identities and policy that a node may be sent at once: with the trust state
// (sync::kMaxTrustBytes) they are to fit what a stream holds for a node that is slow to read.
inline constexpr size_t kMaxSnapshotBytes = size_t{40} << 20;

// A SPIFFE ID that an operator may give to a workload: of this trust domain and not reserved.
absl::StatusOr<trust::SpiffeId> CheckWorkloadId(const trust::TrustDomain& trust_domain,
                                                absl::string_view text);

// "kind:key:value"; of the kind `unix`, the keys uid, gid (numbers), user, group, path (absolute)
// and sha256 (64 hex digits).
absl::Status CheckSelector(absl::string_view selector);

// Lower-case letters, digits and dashes in labels of 1 to 63, at most 253 in all; no wildcard.
absl::Status CheckDnsName(absl::string_view name);

// Returns the identity as it is to be stored (selectors and names sorted). INVALID_ARGUMENT,
// NOT_FOUND (a node), ALREADY_EXISTS (another registration has the SPIFFE ID and the selectors),
// RESOURCE_EXHAUSTED. `longest_ttl` is the issuer's life.
absl::StatusOr<v1::Identity> CheckIdentity(const Registry& registry, v1::Identity identity,
                                           absl::Duration longest_ttl);

// Returns the rule as it is to be stored: both halves if it names none.
absl::StatusOr<trust::v1::PeerRule> CheckRule(const Registry& registry, trust::v1::PeerRule rule);

}  // namespace linchpin::ca
