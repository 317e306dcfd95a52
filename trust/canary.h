// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The leaf by which it is known before a failover who would take what a backup issuer signs. Its
// name, /linchpin/canary, is reserved and expected by no end, so it opens nothing; its key is the
// issuer's own, so there is no other to be kept. Pure.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/trust_state.h"
#include "x509/certificate.h"
#include "x509/key.h"

namespace linchpin::trust {

// Valid as long as `issuer`, whose key signs it. `serial`: 1 to 20 bytes, positive.
absl::StatusOr<x509::Certificate> MakeCanary(const TrustDomain& trust_domain,
                                             const x509::Certificate& issuer,
                                             const x509::PrivateKey& issuer_key,
                                             absl::string_view serial);
// INVALID_ARGUMENT: not what MakeCanary() makes of this issuer.
absl::Status CheckCanary(const TrustDomain& trust_domain, const x509::Certificate& issuer,
                         absl::string_view leaf_der);

// How an end that enforces `state` judges each of them, alone as a leaf may be sent; at most 16.
std::vector<v1::CanaryVerdict> JudgeCanaries(
    const std::shared_ptr<const TrustState>& state,
    const google::protobuf::RepeatedPtrField<v1::Canary>& canaries, absl::Time now);

}  // namespace linchpin::trust
