// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/health.h"

#include <memory>
#include <set>
#include <string>

#include "grpc/health/v1/health.pb.h"

namespace linchpin::rpc {
namespace {

namespace health = grpc::health::v1;

std::shared_ptr<health::HealthCheckResponse> Saying(bool known) {
  auto response = std::make_shared<health::HealthCheckResponse>();
  response->set_status(known ? health::HealthCheckResponse::SERVING
                             : health::HealthCheckResponse::SERVICE_UNKNOWN);
  return response;
}

}  // namespace

void AddHealth(LocalMethods& methods) {
  std::set<std::string> served = methods.Services();
  served.insert("");
  // "If the service name is not registered, the server returns a NOT_FOUND GRPC status."
  methods.Add<health::HealthCheckRequest>(
      "/grpc.health.v1.Health/Check", [served](const CallPtr& call, const auto& request) {
        if (!served.contains(request.service())) {
          return call->Finish(absl::NotFoundError("there is no such service"));
        }
        call->Write(Saying(true));
        call->Finish(absl::OkStatus());
      });
  // "The server will immediately send back a message indicating the current serving status", and
  // SERVICE_UNKNOWN of a service that is not known. It stays so.
  methods.Add<health::HealthCheckRequest>("/grpc.health.v1.Health/Watch",
                                          [served](const CallPtr& call, const auto& request) {
                                            call->Write(Saying(served.contains(request.service())));
                                          });
}

}  // namespace linchpin::rpc
