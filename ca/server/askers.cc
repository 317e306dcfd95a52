// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/askers.h"

#include <pwd.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "rpc/server_credentials.h"

namespace linchpin::ca {
namespace {

std::string UserName(uid_t uid) {
  char buffer[4096];
  passwd entry = {};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) == 0 && found != nullptr) {
    return absl::StrCat("unix:", found->pw_name);
  }
  return absl::StrCat("unix:uid:", uid);
}

std::string Process(const rpc::AdminSocket::Caller& caller) {
  if (caller.pid == 0) return "admin socket, a process of another pid namespace";
  return absl::StrCat("admin socket, pid ", caller.pid);
}

}  // namespace

AskerLookup AskersOnSocket(const rpc::AdminSocket& socket) {
  // Asked once: a directory of users may be slow, and a call must not wait for it.
  return [&socket, own = geteuid(), own_name = UserName(geteuid()), root_name = UserName(0)](
             const grpc::ServerContextBase& context) -> absl::StatusOr<Asker> {
    const std::optional<rpc::AdminSocket::Caller> caller = socket.CallerOf(context);
    if (!caller.has_value()) {
      return absl::UnauthenticatedError("the kernel does not say who is calling");
    }
    if (caller->uid != 0 && caller->uid != own) {
      return absl::PermissionDeniedError(
          absl::StrCat("user ", caller->uid, " may not use the admin socket; run as user ", own,
                       " or as root, or ask for an operator's certificate"));
    }
    return Asker{.on_socket = true,
                 .name = caller->uid == own ? own_name : root_name,
                 .key_sha256 = "",
                 .from = Process(*caller)};
  };
}

AskerLookup AskersByCertificate() {
  return [](const grpc::ServerContextBase& context) -> absl::StatusOr<Asker> {
    const std::shared_ptr<const rpc::JudgedPeer> peer = rpc::PeerOf(context);
    if (peer == nullptr || !peer->id.IsOperator()) {
      return absl::UnauthenticatedError("an operator's certificate is expected");
    }
    const absl::string_view path = peer->id.path();
    return Asker{.on_socket = false,
                 .name = std::string(path.substr(path.rfind('/') + 1)),
                 .key_sha256 = peer->pin.bytes(),
                 .from = context.peer()};
  };
}

}  // namespace linchpin::ca
