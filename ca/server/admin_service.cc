// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/admin_service.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "ca/server/answer.h"
#include "ca/server/log_stream.h"

namespace linchpin::ca {

absl::Status AdminServiceImpl::CheckOperator(const grpc::ServerContextBase& context) const {
  const std::shared_ptr<const rpc::UnixPeer> peer = peer_of_(context);
  if (peer == nullptr) {
    return absl::UnauthenticatedError("the kernel does not say who is calling");
  }
  if (peer->uid() == 0 || peer->uid() == geteuid()) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(
      "user ", peer->uid(), " is no operator of this CA; run as user ", geteuid(), " or as root"));
}

template <typename Response>
AdminServiceImpl::Reactor* AdminServiceImpl::Hand(Context* context, AdminRequest request,
                                                  Response* response) {
  Reactor* reactor = context->DefaultReactor();
  if (absl::Status allowed = CheckOperator(*context); !allowed.ok()) {
    return FinishNow(reactor, allowed);
  }
  driver_.Ask(
      [request = std::move(request)](CallId call) mutable {
        return event::AdminAsked{call, std::move(request)};
      },
      AnswerTo(reactor, response));
  return reactor;
}

using Reactor = AdminServiceImpl::Reactor;

Reactor* AdminServiceImpl::GetAuthorities(Context* context,
                                          const v1::GetAuthoritiesRequest* request,
                                          v1::Authorities* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::CreateJoinToken(Context* context,
                                           const v1::CreateJoinTokenRequest* request,
                                           v1::JoinToken* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::ListNodes(Context* context, const v1::ListNodesRequest* request,
                                     v1::NodeList* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::BanNode(Context* context, const v1::NodeRequest* request,
                                   v1::Node* response) {
  return Hand(context, ca::BanNode{request->node_id()}, response);
}

Reactor* AdminServiceImpl::ForgetNode(Context* context, const v1::NodeRequest* request,
                                      v1::Node* response) {
  return Hand(context, ca::ForgetNode{request->node_id()}, response);
}

Reactor* AdminServiceImpl::CreateIdentity(Context* context, const v1::Identity* request,
                                          v1::Identity* response) {
  return Hand(context, ca::CreateIdentity{*request}, response);
}

Reactor* AdminServiceImpl::ListIdentities(Context* context,
                                          const v1::ListIdentitiesRequest* request,
                                          v1::IdentityList* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::UpdateIdentity(Context* context, const v1::Identity* request,
                                          v1::Identity* response) {
  return Hand(context, ca::UpdateIdentity{*request}, response);
}

Reactor* AdminServiceImpl::DeleteIdentity(Context* context,
                                          const v1::DeleteIdentityRequest* request,
                                          v1::Identity* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::AllowPeer(Context* context, const trust::v1::PeerRule* request,
                                     v1::PolicyChange* response) {
  return Hand(context, ca::AllowPeer{*request}, response);
}

Reactor* AdminServiceImpl::ListPolicy(Context* context, const v1::ListPolicyRequest* request,
                                      v1::PolicyList* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::DeletePolicy(Context* context, const trust::v1::PeerRule* request,
                                        v1::PolicyChange* response) {
  return Hand(context, ca::DeletePolicy{*request}, response);
}

Reactor* AdminServiceImpl::GetTrust(Context* context, const v1::GetTrustStateRequest* request,
                                    trust::v1::TrustState* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::PublishPinSet(Context* context, const trust::v1::SignedPinSet* request,
                                         v1::PinSetPublished* response) {
  return Hand(context, ca::PublishPinSet{*request}, response);
}

Reactor* AdminServiceImpl::ProvePossession(Context* context,
                                           const v1::ProvePossessionRequest* request,
                                           trust::v1::PossessionProof* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::GetCoverage(Context* context, const v1::CoverageRequest* request,
                                       v1::Coverage* response) {
  return Hand(context, *request, response);
}

grpc::ServerWriteReactor<v1::LogEntry>* AdminServiceImpl::ReadLog(
    Context* context, const v1::ReadLogRequest* request) {
  return LogStream::Make(driver_, *request, CheckOperator(*context));
}

Reactor* AdminServiceImpl::VerifyLog(Context* context, const v1::VerifyLogRequest*,
                                     v1::LogVerification* response) {
  Reactor* reactor = context->DefaultReactor();
  if (absl::Status allowed = CheckOperator(*context); !allowed.ok()) {
    return FinishNow(reactor, allowed);
  }
  const absl::Status posted = driver_.RunSlowly([&driver = driver_, reactor, response] {
    absl::StatusOr<v1::LogVerification> verified = driver.log().Verify();
    if (verified.ok()) *response = *std::move(verified);
    FinishNow(reactor, verified.status());
  });
  return posted.ok() ? reactor : FinishNow(reactor, posted);
}

}  // namespace linchpin::ca
