// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Calls to the CA's admin API.
#pragma once

#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "cli/session.h"
#include "linchpin/ca/v1/admin.grpc.pb.h"

namespace linchpin::cli {

using AdminStub = ca::v1::AdminService::StubInterface;

// UNAVAILABLE or PERMISSION_DENIED says what to do about the socket.
absl::StatusOr<std::unique_ptr<AdminStub>> ConnectToCa(const Session& session);

// Of a call to the socket at `path`, as the operator reads it.
absl::Status CallStatus(const grpc::Status& status, const std::string& whose,
                        const std::string& path);
// A socket that is not there or may not be used; `whose` names its server, `option` its option.
absl::Status CheckSocket(const std::string& path, const std::string& whose,
                         const std::string& option);
// "unix:///a/b", "unix:/a/b" or "/a/b" as a path. INVALID_ARGUMENT (usage).
absl::StatusOr<std::string> SocketPath(const std::string& address);

inline constexpr absl::Duration kCallDeadline = absl::Seconds(30);
void SetCallDeadline(grpc::ClientContext* context, absl::Duration deadline = kCallDeadline);

// One call, start to end.
template <typename Request, typename Response>
absl::StatusOr<Response> CallCa(const Session& session,
                                grpc::Status (AdminStub::*method)(grpc::ClientContext*,
                                                                  const Request&, Response*),
                                const Request& request) {
  ASSIGN_OR_RETURN(const std::unique_ptr<AdminStub> stub, ConnectToCa(session));
  grpc::ClientContext context;
  SetCallDeadline(&context);
  Response response;
  RETURN_IF_ERROR(
      CallStatus(((*stub).*method)(&context, request, &response), "the CA", session.ca_place()));
  return response;
}

// "a" becomes spiffe://TD/linchpin/node/a; a SPIFFE ID and what begins with @ stay. Asks the CA for
// its trust domain only if it must.
absl::StatusOr<std::string> NodeIdOf(const Session& session, const std::string& node);

}  // namespace linchpin::cli
