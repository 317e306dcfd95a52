// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The admin API over the network: the operator shows its certificate, the CA is judged before
// anything is asked of it.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/session.h"
#include "trust/mtls_context.h"

namespace linchpin::cli {

inline constexpr size_t kMaxOperatorFile = 64 * 1024;

// The certificate and the key that the session names. INVALID_ARGUMENT (usage): an option is
// missing; FAILED_PRECONDITION: it has expired, or others may read the key.
absl::StatusOr<std::shared_ptr<const trust::MtlsContext>> ReadOperator(const Session& session);

// The CA must show a path to a root, be /linchpin/ca exactly, and have a pinned key: with --ca-pin
// that of the root or the issuer, with --signers what their newest pin set says, which is asked for
// first.
absl::StatusOr<std::shared_ptr<grpc::Channel>> OperatorChannel(const Session& session);

}  // namespace linchpin::cli
