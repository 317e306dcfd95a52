// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// gRPC services over a ContextSource: ports whose callers are judged at each call, channels whose
// server is judged at each handshake, both with the certificate, pins and policy of the day. A call
// that runs with a peer which no longer passes (policy, revocation, pins) ends with
// PERMISSION_DENIED and the reason.
//
//   grpc::ServerBuilder builder;
//   auto added = linchpin::tls::AddListeningPort(&builder, "0.0.0.0:8443", source, {});
//
//   auto channels = linchpin::tls::ChannelFactory::Make(source, {});
//   auto channel = (*channels)->Channel("payments:8443", "spiffe://example.org/payments");
//   auto stub = Payments::NewStub(*channel);   // for each call, or each few
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/server_interceptor.h>

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "sdk/context_source.h"
#include "sdk/tls.h"

namespace linchpin::trust {
class MtlsContext;
}

namespace linchpin::tls {

// Everything that a port needs, on one builder: ServerCredentials, RunningCallGuard and, from
// `options.max_connection_age`, the age at which gRPC asks clients to connect again and, a minute
// later, closes. `address` as in grpc::ServerBuilder; `bound`, if given, is the port after
// BuildAndStart(). Replaces the builder's interceptors: a server with some of its own, or with
// several ports, uses the two functions below. The server keeps the source alive.
// INVALID_ARGUMENT: an identity that is no SPIFFE ID, an age that is not positive.
absl::Status AddListeningPort(grpc::ServerBuilder* builder, const std::string& address,
                              const std::shared_ptr<ContextSource>& source,
                              const TlsOptions& options, int* bound = nullptr);

// Each new connection is shown the certificate of the day; each call is judged inbound. A refused
// one ends with PERMISSION_DENIED, or UNAUTHENTICATED where the certificate itself does not pass,
// and the message begins with the reason. UNAVAILABLE before the first identity. Any thread. Of the
// options only `identity` is used. Does not keep the source alive (RunningCallGuard does): without
// it every call ends with UNAVAILABLE.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(
    const std::shared_ptr<ContextSource>& source, const TlsOptions& options);

// Ends the running calls of callers that no longer pass, on every port of the server it is given to
// (ServerBuilder::experimental().SetInterceptorCreators). Calls of callers without a certificate
// are left alone.
absl::StatusOr<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
RunningCallGuard(const std::shared_ptr<ContextSource>& source, const TlsOptions& options);

// The SPIFFE ID of a caller that ServerCredentials let in; empty for one without a certificate.
std::string CallerId(const grpc::ServerContextBase& context);

// Hands out channels. A gRPC channel keeps the certificate it was made with, so ask for one at each
// call, or at each few: it is the same until our certificate, or what peers are judged by, changes.
// A channel of before stays good for the calls that run on it while its certificate is valid.
// Any thread; a callback of gRPC's may let go of a channel, but not of the factory.
class ChannelFactory {
 public:
  struct Options {
    std::string identity;        // the SPIFFE ID to be; empty: the process's first
    size_t most_channels = 256;  // that are kept; the one unused for longest goes first
    // Called with the arguments of each new channel; may be empty. Sharing of connections between
    // channels, proxies and service configuration stay off, whatever it sets.
    std::function<void(grpc::ChannelArguments*)> adjust;
  };

  static absl::StatusOr<std::shared_ptr<ChannelFactory>> Make(
      const std::shared_ptr<ContextSource>& source, Options options);

  // To "HOST:PORT" or "unix:///abs/path"; the server must be exactly `expected_id`, and policy must
  // allow it: where not, calls end with UNAVAILABLE and the reason. Connects at the first call.
  // INVALID_ARGUMENT: neither an address nor an ID. UNAVAILABLE: no identity yet, or its
  // certificate has expired.
  absl::StatusOr<std::shared_ptr<grpc::Channel>> Channel(const std::string& address,
                                                         const std::string& expected_id);

 private:
  using Key = std::pair<std::string, std::string>;  // address, expected ID
  struct Entry {
    Key key;
    std::string context_digest;
    std::shared_ptr<grpc::Channel> channel;
  };

  ChannelFactory(std::shared_ptr<ContextSource> source, Options options)
      : source_(std::move(source)), options_(std::move(options)) {}

  absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect(
      const Key& key, std::shared_ptr<const trust::MtlsContext> context) const;

  const std::shared_ptr<ContextSource> source_;
  const Options options_;
  base::Mutex mutex_;
  std::list<Entry> entries_;  // the latest used first
  std::map<Key, std::list<Entry>::iterator> by_key_;
};

}  // namespace linchpin::tls
