// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A node as the CA sees one: joins with a token and calls over judged mutual TLS, as an agent does.
#pragma once

#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "linchpin/ca/v1/admin.grpc.pb.h"
#include "linchpin/ca/v1/node.grpc.pb.h"
#include "rpc/status.h"
#include "trust/trust_acceptance.h"

namespace linchpin::bench {

using AdminStub = ca::v1::AdminService::Stub;

// One unary call, with a deadline of a minute.
void SetDeadline(grpc::ClientContext* context);
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request) {
  grpc::ClientContext context;
  SetDeadline(&context);
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) return rpc::FromGrpc(status);
  return response;
}

std::unique_ptr<AdminStub> ConnectToAdmin(const std::string& socket);

struct Node {
  std::string id;
  trust::TrustHeld trust;                           // accepted when it was attested
  std::shared_ptr<ca::v1::NodeService::Stub> stub;  // over a connection of its own
};

// Asks `admin` for a join token for `name` and redeems it at `address` (HOST:PORT).
absl::StatusOr<Node> Join(AdminStub& admin, const std::string& address, const std::string& name);
// The same node with a new key and certificate, and a connection that shows them.
absl::StatusOr<Node> Renewed(const Node& node, const std::string& address);

}  // namespace linchpin::bench
