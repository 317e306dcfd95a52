// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// NodeService over gRPC: decodes, hands to the core, encodes. Certificate requests are parsed and
// their proofs of possession verified here, on gRPC's threads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ca/attest/node_verifier.h"
#include "ca/server/core_driver.h"
#include "linchpin/ca/v1/node.grpc.pb.h"

namespace linchpin::ca {

// The methods that may be called before the caller has a certificate.
std::vector<std::string> OpenMethods();

class NodeServiceImpl final : public v1::NodeService::CallbackService {
 public:
  // `driver` outlives this.
  NodeServiceImpl(CoreDriver& driver, std::vector<std::unique_ptr<NodeVerifier>> verifiers)
      : driver_(driver), verifiers_(std::move(verifiers)) {}

  grpc::ServerUnaryReactor* GetTrust(grpc::CallbackServerContext* context,
                                     const v1::GetTrustRequest* request,
                                     v1::GetTrustResponse* response) override;
  grpc::ServerUnaryReactor* Attest(grpc::CallbackServerContext* context,
                                   const v1::AttestRequest* request,
                                   v1::AttestResponse* response) override;
  grpc::ServerUnaryReactor* RenewNode(grpc::CallbackServerContext* context,
                                      const v1::RenewNodeRequest* request,
                                      v1::AttestResponse* response) override;
  grpc::ServerUnaryReactor* Issue(grpc::CallbackServerContext* context,
                                  const v1::IssueRequest* request,
                                  v1::IssueResponse* response) override;
  grpc::ServerBidiReactor<v1::NodeMessage, v1::CaMessage>* Sync(
      grpc::CallbackServerContext* context) override;

 private:
  CoreDriver& driver_;
  const std::vector<std::unique_ptr<NodeVerifier>> verifiers_;
};

}  // namespace linchpin::ca
