// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/internal/socket_path.h"

#include <sys/un.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace linchpin::tls {
namespace {

absl::StatusOr<std::string> Check(absl::string_view text, absl::string_view where) {
  absl::string_view path = text;
  // The SPIFFE Workload Endpoint standard writes unix:///path; gRPC also knows unix:/path.
  if (!absl::ConsumePrefix(&path, "unix://")) absl::ConsumePrefix(&path, "unix:");
  if (path.empty() || path.front() != '/' || path.size() >= sizeof(sockaddr_un::sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(where, " is \"",
                                                   absl::CEscape(text.substr(0, 256)),
                                                   "\"; expected unix:///ABSOLUTE/PATH of at most ",
                                                   sizeof(sockaddr_un::sun_path) - 1, " bytes"));
  }
  return std::string(path);
}

}  // namespace

absl::StatusOr<std::string> ResolveSocket(
    const std::string& option, const std::function<const char*(const char*)>& environment) {
  if (!option.empty()) return Check(option, "the agent's socket");
  for (const char* name : {"LINCHPIN_AGENT_SOCKET", "SPIFFE_ENDPOINT_SOCKET"}) {
    const char* value = environment(name);
    if (value != nullptr && *value != '\0') return Check(value, name);
  }
  return std::string("/run/linchpin/agent.sock");
}

}  // namespace linchpin::tls
