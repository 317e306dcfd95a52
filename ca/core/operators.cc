// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/operators.h"

#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

struct MethodRow {
  absl::string_view method;
  absl::string_view command;  // of linchpin
  Role least;
};

constexpr MethodRow kMethods[] = {
    {"GetAuthorities", "ca pins", Role::kViewer},
    {"DeclareRestored", "ca restored", Role::kAdmin},
    {"CreateJoinToken", "node token", Role::kRegistrar},
    {"ListNodes", "node list", Role::kViewer},
    {"BanNode", "node ban", Role::kAdmin},
    {"ForgetNode", "node forget", Role::kAdmin},
    {"CreateIdentity", "identity create", Role::kRegistrar},
    {"ListIdentities", "identity list", Role::kViewer},
    {"UpdateIdentity", "identity update", Role::kRegistrar},
    {"DeleteIdentity", "identity delete", Role::kRegistrar},
    {"AllowPeer", "policy allow", Role::kRegistrar},
    {"ListPolicy", "policy list", Role::kViewer},
    {"DeletePolicy", "policy delete", Role::kRegistrar},
    {"GetTrust", "bundle show", Role::kViewer},
    {"PublishPinSet", "pins publish", Role::kAdmin},
    {"PlayRelax", "pins publish", Role::kAdmin},
    {"PublishFreshness", "pins publish", Role::kRegistrar},
    {"ProvePossession", "pins draft", Role::kAdmin},
    {"GetCoverage", "coverage", Role::kViewer},
    {"GetCoverageHistory", "coverage --history", Role::kViewer},
    {"Revoke", "revoke", Role::kAdmin},
    {"ListRevocations", "revocations", Role::kViewer},
    {"ReadLog", "log tail", Role::kViewer},
    {"VerifyLog", "log verify", Role::kViewer},
    {"ReadChanges", "log tail", Role::kViewer},
    {"Rotate", "rotate", Role::kAdmin},
    {"GetRotation", "rotate status", Role::kViewer},
    {"CreateBackup", "ca backup create", Role::kAdmin},
    {"FinishBackup", "ca backup create", Role::kAdmin},
    {"ListAwaited", "ca csr", Role::kViewer},
    {"ImportCertificates", "ca import", Role::kAdmin},
    {"Failover", "failover", Role::kAdmin},
    {"GetFailover", "failover --check", Role::kViewer},
    {"CreateOperator", "operator create", Role::kAdmin},
    {"RenewOperator", "operator renew", Role::kViewer},  // oneself
    {"ListOperators", "operator list", Role::kViewer},
    {"DeleteOperator", "operator delete", Role::kAdmin},
};

// The method of each kind of request: one that has none here does not compile.
struct Methods {
  absl::string_view operator()(const v1::GetAuthoritiesRequest&) { return "GetAuthorities"; }
  absl::string_view operator()(const v1::DeclareRestoredRequest&) { return "DeclareRestored"; }
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
  absl::string_view operator()(const PlayRelax&) { return "PlayRelax"; }
  absl::string_view operator()(const PublishFreshness&) { return "PublishFreshness"; }
  absl::string_view operator()(const v1::ProvePossessionRequest&) { return "ProvePossession"; }
  absl::string_view operator()(const v1::CoverageRequest&) { return "GetCoverage"; }
  absl::string_view operator()(const v1::GetRotationRequest&) { return "GetRotation"; }
  absl::string_view operator()(const v1::RotateRequest&) { return "Rotate"; }
  absl::string_view operator()(const BeginRotation&) { return "Rotate"; }
  absl::string_view operator()(const CertifyBackup&) { return "CreateBackup"; }
  absl::string_view operator()(const AddBackup&) { return "CreateBackup"; }
  absl::string_view operator()(const v1::FinishBackupRequest&) { return "FinishBackup"; }
  absl::string_view operator()(const Failover&) { return "Failover"; }
  absl::string_view operator()(const v1::ListAwaitedRequest&) { return "ListAwaited"; }
  absl::string_view operator()(const v1::ImportCertificatesRequest&) {
    return "ImportCertificates";
  }
  absl::string_view operator()(const ImportMade&) { return "ImportCertificates"; }
  absl::string_view operator()(const v1::GetFailoverRequest&) { return "GetFailover"; }
  absl::string_view operator()(const v1::CoverageHistoryRequest&) { return "GetCoverageHistory"; }
  absl::string_view operator()(const v1::RevokeRequest&) { return "Revoke"; }
  absl::string_view operator()(const Revoke&) { return "Revoke"; }
  absl::string_view operator()(const v1::ListRevocationsRequest&) { return "ListRevocations"; }
  absl::string_view operator()(const v1::ReadLogRequest&) { return "ReadLog"; }
  absl::string_view operator()(const v1::VerifyLogRequest&) { return "VerifyLog"; }
  absl::string_view operator()(const v1::ReadChangesRequest&) { return "ReadChanges"; }
  absl::string_view operator()(const ApplyKubernetes&) { return "CreateIdentity"; }
  absl::string_view operator()(const CreateOperator&) { return "CreateOperator"; }
  absl::string_view operator()(const RenewOperator&) { return "RenewOperator"; }
  absl::string_view operator()(const v1::ListOperatorsRequest&) { return "ListOperators"; }
  absl::string_view operator()(const v1::DeleteOperatorRequest&) { return "DeleteOperator"; }
};

const MethodRow* Find(absl::string_view method) {
  for (const MethodRow& row : kMethods) {
    if (row.method == method) return &row;
  }
  return nullptr;
}

// The command that an admin gives an operator a new key and role by.
std::string NewCertificate(absl::string_view name, absl::string_view role) {
  return absl::StrCat("linchpin operator create --name ", name, " --role ", role, " --replace");
}

// PERMISSION_DENIED: no operator, or not any more.
absl::StatusOr<std::string> RoleOf(const Registry& registry, const Asker& asker, absl::Time now) {
  const auto* row = registry.FindOperator(asker.name);
  if (row == nullptr) {
    return absl::PermissionDeniedError(
        absl::StrCat("there is no operator ", asker.name,
                     " (any more): ask an admin for linchpin operator create --name ", asker.name));
  }
  const v1::Operator& holder = row->record.holder();
  if (holder.key_sha256() != asker.key_sha256) {
    return absl::PermissionDeniedError(
        absl::StrCat("operator ", asker.name, " has another key since ",
                     trust::TimeText(absl::FromUnixSeconds(holder.created_at())),
                     ": use the newer key and certificate"));
  }
  const absl::Time expires = absl::FromUnixSeconds(holder.certificate_expires_at());
  if (now >= expires) {
    return absl::PermissionDeniedError(
        absl::StrCat("the certificate of operator ", asker.name, " expired at ",
                     trust::TimeText(expires), " and it is ", trust::TimeText(now),
                     " here: ask an admin for ", NewCertificate(asker.name, holder.role())));
  }
  return holder.role();
}

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
  const MethodRow* row = Find(method);
  return row == nullptr ? std::nullopt : std::make_optional(row->least);
}

absl::string_view MethodOf(const AdminRequest& request) { return std::visit(Methods(), request); }

absl::StatusOr<ChangedBy> CheckAsker(const Registry& registry, const Asker& asker,
                                     absl::string_view method, absl::Time now) {
  const MethodRow* row = Find(method);
  if (row == nullptr) {
    return absl::PermissionDeniedError(absl::StrCat(method, " may be called by nobody"));
  }
  ChangedBy by{asker.name, std::string(RoleName(Role::kAdmin)), asker.from, std::string(method)};
  if (asker.on_socket) return by;
  if (asker.name.empty() || asker.key_sha256.size() != 32) {
    return absl::UnauthenticatedError(
        absl::StrCat("nobody knows who calls ", method, "; show an operator's certificate"));
  }
  ASSIGN_OR_RETURN(by.role, RoleOf(registry, asker, now));
  const std::optional<Role> role = ParseRole(by.role);
  if (role.has_value() && *role >= row->least) return by;
  return absl::PermissionDeniedError(
      absl::StrCat("operator ", asker.name, " has role ", by.role, "; ", row->command, " needs ",
                   RoleName(row->least), ": ask an admin for ",
                   NewCertificate(asker.name, RoleName(row->least))));
}

}  // namespace linchpin::ca
