// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Who calls the admin API: on the Unix socket the kernel says it, on the network a judged
// certificate. What they may do: ca/core/operators.h.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "ca/core/events.h"
#include "rpc/unix_listener.h"

namespace linchpin::ca {

// From gRPC's threads; must not block.
using AskerLookup = std::function<absl::StatusOr<Asker>(const grpc::ServerContextBase&)>;
// Who is at the other end of a call's Unix socket; null if unknown.
using PeerLookup =
    std::function<std::shared_ptr<const rpc::UnixPeer>(const grpc::ServerContextBase&)>;

// The CA's own user, and root.
AskerLookup AskersOnSocket(PeerLookup peer_of);
// Whoever JudgedServerCredentials let through as an operator.
AskerLookup AskersByCertificate();

}  // namespace linchpin::ca
