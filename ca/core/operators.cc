// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/operators.h"

#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

struct MethodRow {
  absl::string_view method;
  Role least;
};

constexpr MethodRow kMethods[] = {
    {"GetAuthorities", Role::kViewer},
    {"CreateJoinToken", Role::kRegistrar},
    {"ListNodes", Role::kViewer},
    {"BanNode", Role::kAdmin},
    {"ForgetNode", Role::kAdmin},
    {"CreateIdentity", Role::kRegistrar},
    {"ListIdentities", Role::kViewer},
    {"UpdateIdentity", Role::kRegistrar},
    {"DeleteIdentity", Role::kRegistrar},
    {"AllowPeer", Role::kRegistrar},
    {"ListPolicy", Role::kViewer},
    {"DeletePolicy", Role::kRegistrar},
    {"GetTrust", Role::kViewer},
    {"PublishPinSet", Role::kAdmin},
    {"ProvePossession", Role::kAdmin},
    {"GetCoverage", Role::kViewer},
    {"ReadLog", Role::kViewer},
    {"VerifyLog", Role::kViewer},
    {"Rotate", Role::kAdmin},
    {"GetRotation", Role::kViewer},
    {"ReadChanges", Role::kViewer},
    {"CreateOperator", Role::kAdmin},
    {"RenewOperator", Role::kViewer},  // oneself
    {"ListOperators", Role::kViewer},
    {"DeleteOperator", Role::kAdmin},
};

// The method of each kind of request: one that has none here does not compile.
struct Methods {
  absl::string_view operator()(const v1::GetAuthoritiesRequest&) { return "GetAuthorities"; }
  absl::string_view operator()(const v1::CreateJoinTokenRequest&) { return "CreateJoinToken"; }
  absl::string_view operator()(const v1::ListNodesRequest&) { return "ListNodes"; }
  absl::string_view operator()(const BanNode&) { return "BanNode"; }
  absl::string_view operator()(const ForgetNode&) { return "ForgetNode"; }
  absl::string_view operator()(const CreateIdentity&) { return "CreateIdentity"; }
  absl::string_view operator()(const v1::ListIdentitiesRequest&) { return "ListIdentities"; }
  absl::string_view operator()(const UpdateIdentity&) { return "UpdateIdentity"; }
  absl::string_view operator()(const v1::DeleteIdentityRequest&) { return "DeleteIdentity"; }
  absl::string_view operator()(const AllowPeer&) { return "AllowPeer"; }
  absl::string_view operator()(const v1::ListPolicyRequest&) { return "ListPolicy"; }
  absl::string_view operator()(const DeletePolicy&) { return "DeletePolicy"; }
  absl::string_view operator()(const v1::GetTrustStateRequest&) { return "GetTrust"; }
  absl::string_view operator()(const PublishPinSet&) { return "PublishPinSet"; }
  absl::string_view operator()(const v1::ProvePossessionRequest&) { return "ProvePossession"; }
  absl::string_view operator()(const v1::CoverageRequest&) { return "GetCoverage"; }
  absl::string_view operator()(const v1::GetRotationRequest&) { return "GetRotation"; }
  absl::string_view operator()(const v1::RotateRequest&) { return "Rotate"; }
  absl::string_view operator()(const BeginRotation&) { return "Rotate"; }
  absl::string_view operator()(const v1::ReadLogRequest&) { return "ReadLog"; }
  absl::string_view operator()(const v1::VerifyLogRequest&) { return "VerifyLog"; }
  absl::string_view operator()(const v1::ReadChangesRequest&) { return "ReadChanges"; }
};

constexpr absl::string_view kRoles[] = {"viewer", "registrar", "admin"};

}  // namespace

absl::string_view RoleName(Role role) { return kRoles[static_cast<int>(role)]; }

std::optional<Role> ParseRole(absl::string_view name) {
  for (const Role role : {Role::kViewer, Role::kRegistrar, Role::kAdmin}) {
    if (RoleName(role) == name) return role;
  }
  return std::nullopt;
}

std::optional<Role> LeastRole(absl::string_view method) {
  for (const MethodRow& row : kMethods) {
    if (row.method == method) return row.least;
  }
  return std::nullopt;
}

absl::string_view MethodOf(const AdminRequest& request) { return std::visit(Methods(), request); }

absl::StatusOr<ChangedBy> CheckAsker(const Registry& registry, const Asker& asker,
                                     absl::string_view method) {
  (void)registry;
  if (asker.on_socket) {
    return ChangedBy{asker.name, std::string(RoleName(Role::kAdmin)), asker.from,
                     std::string(method)};
  }
  return absl::UnauthenticatedError(
      absl::StrCat("nobody knows who asks for ", method, "; use the admin socket"));
}

}  // namespace linchpin::ca
