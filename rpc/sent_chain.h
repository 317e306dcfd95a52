// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The chain that a peer sent, as gRPC hands it over (PEM), in the form that Judge takes (DER).
#pragma once

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "trust/judge.h"

namespace linchpin::rpc {

// Appends the certificates of `pem` to `chain` without parsing them. UNAUTHENTICATED: no PEM, or so
// many that even counting them is refused.
absl::Status AppendSentChain(absl::string_view pem, trust::RawChain* chain);

// What an auth context says of `name`, first value; empty if nothing. Borrowed from `context`.
absl::string_view Property(const grpc_auth_context* context, const char* name);

// The certificates that the peer of a running call showed; none for a peer without one. On a
// client's side only once the server's initial metadata has come.
absl::StatusOr<trust::RawChain> PeerChain(grpc_call* call, trust::Direction direction);

}  // namespace linchpin::rpc
