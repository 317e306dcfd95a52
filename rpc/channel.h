// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Client channels: mutual TLS judged by Judge, and the Unix socket.
#pragma once

#include <grpcpp/channel.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "rpc/own_identity.h"
#include "trust/judge.h"

namespace linchpin::rpc {

// A channel keeps the client certificate that `context` had when it was made: make a new one after
// a renewal. The server is judged outbound with `expect` at each handshake.
std::shared_ptr<grpc::Channel> JudgedChannel(const std::string& address,
                                             std::shared_ptr<const trust::MtlsContext> context,
                                             trust::Expect expect, const base::Clock& clock);

// For first contact: no certificate is shown and every server passes; its chain (DER, as sent) is
// handed to `seen`, from a gRPC thread, before the first call is sent; an error from it ends the
// handshake. Over such a channel nothing but GetTrust may be asked unless `seen` judged the chain.
std::shared_ptr<grpc::Channel> FirstContactChannel(
    const std::string& address,
    std::function<absl::Status(const std::vector<std::string>& chain)> seen);

// unix:///abs/path or /abs/path.
std::shared_ptr<grpc::Channel> UnixChannel(const std::string& socket);

// "HOST:PORT" or "unix:///abs/path". INVALID_ARGUMENT says which form is expected.
absl::Status CheckAddress(absl::string_view address);

}  // namespace linchpin::rpc
