// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What relax documents and freshness statements have in common: small payloads about one version of
// the pin sets of a trust domain, signed apart from the CA.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "trust/spiffe_id.h"

namespace linchpin::trust {

inline constexpr int64_t kLatestTime = 253402300799;  // 9999-12-31T23:59:59Z, RFC 5280 §4.1.2.5

// INVALID_ARGUMENT; `what` is "relax document", or "freshness statement".
absl::Status MalformedStatement(absl::string_view what, absl::string_view entry,
                                absl::string_view fault);

// Whole or nothing: at most 4 KiB, no field that is unknown here.
absl::Status ParseStatement(absl::string_view what, absl::string_view payload,
                            google::protobuf::Message* message);

// What every one of them says.
absl::StatusOr<TrustDomain> CheckStatement(absl::string_view what, absl::string_view trust_domain,
                                           uint64_t version, int64_t issued_at);

}  // namespace linchpin::trust
