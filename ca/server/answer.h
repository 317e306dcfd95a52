// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The core's answers as gRPC's.
#pragma once

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "ca/server/core_driver.h"
#include "rpc/status.h"

namespace linchpin::ca {

template <typename Response>
CoreDriver::Answer AnswerTo(grpc::ServerUnaryReactor* reactor, Response* response) {
  return [reactor, response](const absl::Status& status, const google::protobuf::Message* message) {
    if (message != nullptr) response->CopyFrom(*message);
    reactor->Finish(rpc::ToGrpc(status));
  };
}

inline grpc::ServerUnaryReactor* FinishNow(grpc::ServerUnaryReactor* reactor,
                                           const absl::Status& status) {
  reactor->Finish(rpc::ToGrpc(status));
  return reactor;
}

}  // namespace linchpin::ca
