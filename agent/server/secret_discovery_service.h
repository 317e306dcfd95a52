// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Envoy's secret discovery on the agent's socket: what is said is agent/deliver/secret_stream.h's.
#pragma once

#include <functional>
#include <string>

#include "agent/server/consumer_streams.h"
#include "envoy/service/secret/v3/sds.grpc.pb.h"

namespace linchpin::agent {

// A caller without an identity waits for one, except FetchSecrets (PERMISSION_DENIED). A caller who
// does not read is not read from, and holds one response that is being written.
class SecretDiscoveryService final
    : public envoy::service::secret::v3::SecretDiscoveryService::CallbackService {
 public:
  // Told of each response that a caller refused, with his reason, fit for a log. Any thread.
  using OnRefused = std::function<void(const ConsumerId& consumer, const std::string& why)>;

  // `streams` must outlive the service, and the service the server that it is registered with.
  SecretDiscoveryService(ConsumerStreams& streams, OnRefused refused);

  grpc::ServerBidiReactor<envoy::service::discovery::v3::DiscoveryRequest,
                          envoy::service::discovery::v3::DiscoveryResponse>*
  StreamSecrets(grpc::CallbackServerContext* context) override;
  grpc::ServerBidiReactor<envoy::service::discovery::v3::DeltaDiscoveryRequest,
                          envoy::service::discovery::v3::DeltaDiscoveryResponse>*
  DeltaSecrets(grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* FetchSecrets(
      grpc::CallbackServerContext* context,
      const envoy::service::discovery::v3::DiscoveryRequest* request,
      envoy::service::discovery::v3::DiscoveryResponse* response) override;

 private:
  ConsumerStreams& streams_;
  const OnRefused refused_;
};

}  // namespace linchpin::agent
