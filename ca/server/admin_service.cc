// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/admin_service.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "ca/server/answer.h"
#include "ca/server/change_reader.h"
#include "ca/server/log_stream.h"

namespace linchpin::ca {
namespace {

// On the driver's slow thread.
absl::Status VerifyBoth(CoreDriver& driver, const v1::ChangeSpan& span,
                        v1::LogVerification* response) {
  ASSIGN_OR_RETURN(*response, driver.log().Verify());
  response->set_changes(span.next_index() - span.first_index());
  response->set_changes_head(span.head());
  const absl::Status changes = VerifyChanges(driver.store(), span);
  if (!absl::IsDataLoss(changes)) return changes;
  if (response->intact()) response->set_problem(std::string(changes.message()));
  response->set_intact(false);
  return absl::OkStatus();
}

}  // namespace

void AdminServiceImpl::Ask(Context* context, AdminRequest request, CoreDriver::Answer answer) {
  absl::StatusOr<Asker> who = asker_of_(*context);
  if (!who.ok()) return answer(who.status(), nullptr);
  driver_.Ask(
      [who = *std::move(who), request = std::move(request)](CallId call) mutable {
        return event::AdminAsked{call, std::move(who), std::move(request)};
      },
      std::move(answer));
}

template <typename Response>
AdminServiceImpl::Reactor* AdminServiceImpl::Hand(Context* context, AdminRequest request,
                                                  Response* response) {
  Reactor* reactor = context->DefaultReactor();
  Ask(context, std::move(request), AnswerTo(reactor, response));
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

Reactor* AdminServiceImpl::Rotate(Context* context, const v1::RotateRequest* request,
                                  v1::Rotation* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::GetRotation(Context* context, const v1::GetRotationRequest* request,
                                       v1::Rotation* response) {
  return Hand(context, *request, response);
}

grpc::ServerWriteReactor<v1::LogEntry>* AdminServiceImpl::ReadLog(
    Context* context, const v1::ReadLogRequest* request) {
  const auto stream = LogStream<v1::LogEntry>::Make(
      driver_,
      [&driver = driver_](uint64_t from, size_t most) { return driver.log().Read(from, most); },
      request->follow());
  Ask(context, *request,
      [stream, from = request->from_index()](const absl::Status& allowed,
                                             const google::protobuf::Message*) {
        if (!allowed.ok()) return stream->End(allowed);
        stream->Begin(from);
      });
  return stream.get();
}

grpc::ServerWriteReactor<v1::Change>* AdminServiceImpl::ReadChanges(
    Context* context, const v1::ReadChangesRequest* request) {
  const auto stream = LogStream<v1::Change>::Make(
      driver_,
      [&driver = driver_](uint64_t from, size_t most) {
        return ca::ReadChanges(driver.store(), from, most);
      },
      request->follow());
  Ask(context, *request,
      [stream, asked = *request](const absl::Status& allowed,
                                 const google::protobuf::Message* message) {
        if (!allowed.ok()) return stream->End(allowed);
        const auto& span = static_cast<const v1::ChangeSpan&>(*message);
        uint64_t from = std::clamp(asked.from_index(), span.first_index(), span.next_index());
        if (asked.last() > 0 && asked.last() < span.next_index() - from) {
          from = span.next_index() - asked.last();
        }
        stream->Begin(from);
      });
  return stream.get();
}

Reactor* AdminServiceImpl::VerifyLog(Context* context, const v1::VerifyLogRequest* request,
                                     v1::LogVerification* response) {
  Reactor* reactor = context->DefaultReactor();
  Ask(context, *request,
      [&driver = driver_, reactor, response](const absl::Status& allowed,
                                             const google::protobuf::Message* message) {
        if (!allowed.ok()) return (void)FinishNow(reactor, allowed);
        const auto& span = static_cast<const v1::ChangeSpan&>(*message);
        const absl::Status posted = driver.RunSlowly([&driver, reactor, response, span] {
          FinishNow(reactor, VerifyBoth(driver, span, response));
        });
        if (!posted.ok()) FinishNow(reactor, posted);
      });
  return reactor;
}

}  // namespace linchpin::ca
