// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/admin_client.h"

#include <grpc/support/time.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/operator_channel.h"
#include "rpc/channel.h"
#include "rpc/status.h"
#include "trust/spiffe_id.h"

namespace linchpin::cli {

absl::StatusOr<std::string> SocketPath(const std::string& address) {
  absl::string_view path = address;
  if (absl::ConsumePrefix(&path, "unix:") && absl::StartsWith(path, "//")) path.remove_prefix(2);
  if (absl::StartsWith(path, "/")) return std::string(path);
  return UsageError(absl::StrCat("the socket \"", address,
                                 "\" is no address: expected unix:///absolute/path or a path"));
}

absl::Status CheckSocket(const std::string& path, const std::string& whose,
                         const std::string& option) {
  struct stat found = {};
  if (stat(path.c_str(), &found) != 0 && errno != EACCES) {
    return absl::UnavailableError(absl::StrCat("no socket of ", whose, " at ", path,
                                               ": start it, or name its socket with ", option));
  }
  if (access(path.c_str(), R_OK | W_OK) != 0) {
    return absl::PermissionDeniedError(absl::StrCat(
        "you may not use the socket ", path, ": run this as the user that ", whose, " runs as"));
  }
  if (!S_ISSOCK(found.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is no socket: name that of ", whose, " with ", option));
  }
  return absl::OkStatus();
}

absl::Status CallStatus(const grpc::Status& status, const std::string& whose,
                        const std::string& path) {
  const absl::Status plain = rpc::FromGrpc(status);
  switch (plain.code()) {
    case absl::StatusCode::kOk:
      return plain;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return absl::Status(plain.code(), absl::StrCat(whose, " at ", path, " does not answer (",
                                                     plain.message(), "): look at its log"));
    case absl::StatusCode::kUnimplemented:
      return absl::UnimplementedError(absl::StrCat(whose, " at ", path,
                                                   " does not know this call: it is of another "
                                                   "version, or another program's socket"));
    default:
      return plain;
  }
}

absl::StatusOr<std::unique_ptr<AdminStub>> ConnectToCa(const Session& session) {
  if (!session.ca.empty()) {
    ASSIGN_OR_RETURN(const auto channel, OperatorChannel(session));
    return ca::v1::AdminService::NewStub(channel);
  }
  RETURN_IF_ERROR(CheckSocket(session.admin_socket, "linchpin-ca", "--admin-socket"));
  return ca::v1::AdminService::NewStub(rpc::UnixChannel(session.admin_socket));
}

void SetCallDeadline(grpc::ClientContext* context, absl::Duration deadline) {
  context->set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                   gpr_time_from_millis(absl::ToInt64Milliseconds(deadline), GPR_TIMESPAN)));
}

absl::StatusOr<std::string> NodeIdOf(const Session& session, const std::string& node) {
  if (absl::StartsWith(node, "spiffe://") || absl::StartsWith(node, "@")) return node;
  ASSIGN_OR_RETURN(const ca::v1::Authorities authorities,
                   CallCa(session, &AdminStub::GetAuthorities, ca::v1::GetAuthoritiesRequest()));
  ASSIGN_OR_RETURN(const trust::TrustDomain trust_domain,
                   trust::TrustDomain::FromName(authorities.trust_domain()));
  ASSIGN_OR_RETURN(const trust::SpiffeId id, trust::NodeId(trust_domain, node));
  return id.ToString();
}

}  // namespace linchpin::cli
