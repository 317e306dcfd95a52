// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Client channels: mutual TLS judged by Judge, and the Unix socket.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/client_interceptor.h>

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

using InterceptorFactory = grpc::experimental::ClientInterceptorFactoryInterface;

struct ChannelParts {
  std::string address;  // HOST:PORT or unix:///abs/path
  // Its certificate is what the channel shows, always; null, or without one: none is shown.
  std::shared_ptr<const trust::MtlsContext> shown;
  // Judges the chain (DER, as sent) at each handshake, from a gRPC thread, before any call is sent.
  std::function<absl::Status(const trust::RawChain& chain)> check;
  std::function<void(grpc::ChannelArguments*)> adjust;  // goes before the defaults; may be empty
  std::vector<std::unique_ptr<InterceptorFactory>> interceptors;
};

// Mutual TLS with a check of one's own: what the channels below are made by. A session is never
// shared with another channel, and no proxy and no service configuration is asked for.
std::shared_ptr<grpc::Channel> CheckedChannel(ChannelParts parts);

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

// unix:///abs/path or /abs/path. For programs of this host: answers of up to 64 MiB are taken, as
// lists of a large fleet are.
std::shared_ptr<grpc::Channel> UnixChannel(const std::string& socket);

// "HOST:PORT" or "unix:///abs/path". INVALID_ARGUMENT says which form is expected.
absl::Status CheckAddress(absl::string_view address);

}  // namespace linchpin::rpc
