// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Who calls the admin API: on the Unix socket the kernel says it, on the network a judged
// certificate. What they may do: ca/core/operators.h.
#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "ca/core/events.h"
#include "rpc/admin_socket.h"

namespace linchpin::ca {

// From gRPC's threads; must not block.
using AskerLookup = std::function<absl::StatusOr<Asker>(const grpc::ServerContextBase&)>;
// The CA's own user, and root. `socket` outlives the calls.
AskerLookup AskersOnSocket(const rpc::AdminSocket& socket);
// Whoever JudgedServerCredentials let through as an operator.
AskerLookup AskersByCertificate();

}  // namespace linchpin::ca
