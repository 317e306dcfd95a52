// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Messages to values and back for trust states and contexts; every value is checked on the way in.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/mtls_context.h"
#include "trust/trust_state.h"

namespace linchpin::trust {

agent::v1::TrustDomainContext EncodeTrustState(const TrustState& state);
absl::StatusOr<std::shared_ptr<const TrustState>> DecodeTrustState(
    const agent::v1::TrustDomainContext& message);

// The contexts of a Watch message, in order. INVALID_ARGUMENT names the entry that is malformed:
// then nothing of the message is used.
struct DecodedContexts {
  std::vector<std::shared_ptr<const MtlsContext>> contexts;
  TrustStates trust;
  uint64_t trust_epoch = 0;
  std::string trust_digest;  // as computed from the contents, not as claimed
};
absl::StatusOr<DecodedContexts> DecodeContexts(const agent::v1::MtlsContexts& message);
agent::v1::Identity EncodeIdentity(const MtlsContext& context, const std::string& hint);

// Wipes the private keys of a message that is no longer needed.
void WipeKeys(agent::v1::MtlsContexts* message);

}  // namespace linchpin::trust
