// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The SPIFFE Workload API on the agent's socket: its X.509 profile. What is said, and when:
// agent/deliver/workload_messages.h. https://github.com/spiffe/spiffe/tree/main/standards
#pragma once

#include <string>

#include "agent/server/consumer_streams.h"
#include "spiffe/workloadapi.grpc.pb.h"
#include "trust/bundle.h"

namespace linchpin::agent {

class WorkloadApiService final : public SpiffeWorkloadAPI::CallbackService {
 public:
  struct Options {
    std::string trust_domain;
    trust::BundleKind bundle = trust::BundleKind::kPinned;
  };
  // `streams` and `clock` must outlive the service, and the service the server that it is
  // registered with.
  WorkloadApiService(ConsumerStreams& streams, const base::Clock& clock, Options options);

  // Every call needs the security header, else INVALID_ARGUMENT: a service that is tricked into
  // fetching a URL cannot send it (SPIFFE Workload Endpoint, 4: "'workload.spiffe.io' … 'true'").
  grpc::ServerWriteReactor<X509SVIDResponse>* FetchX509SVID(
      grpc::CallbackServerContext* context, const X509SVIDRequest* request) override;
  grpc::ServerWriteReactor<X509BundlesResponse>* FetchX509Bundles(
      grpc::CallbackServerContext* context, const X509BundlesRequest* request) override;
  // UNIMPLEMENTED.
  grpc::ServerUnaryReactor* FetchJWTSVID(grpc::CallbackServerContext* context,
                                         const JWTSVIDRequest* request,
                                         JWTSVIDResponse* response) override;
  grpc::ServerWriteReactor<JWTBundlesResponse>* FetchJWTBundles(
      grpc::CallbackServerContext* context, const JWTBundlesRequest* request) override;
  grpc::ServerUnaryReactor* ValidateJWTSVID(grpc::CallbackServerContext* context,
                                            const ValidateJWTSVIDRequest* request,
                                            ValidateJWTSVIDResponse* response) override;

 private:
  template <typename Response>
  grpc::ServerWriteReactor<Response>* Fetch(const grpc::CallbackServerContext& context);

  ConsumerStreams& streams_;
  const base::Clock& clock_;
  const Options options_;
};

}  // namespace linchpin::agent
