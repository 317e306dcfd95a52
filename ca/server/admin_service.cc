// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/admin_service.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "ca/core/operators.h"
#include "ca/server/answer.h"
#include "ca/server/change_reader.h"
#include "ca/server/log_at_start.h"
#include "ca/server/log_stream.h"
#include "x509/certificate_request.h"

namespace linchpin::ca {
namespace {

// A refusal is worth a line: the caller was authenticated, or is at the socket.
void Count(CoreDriver& driver, base::LogLimit& refusals, const std::string& who,
           absl::string_view method, const absl::Status& status) {
  driver.metrics().Add(
      "linchpin_ca_admin_calls_total",
      {{"method", std::string(method)}, {"result", absl::StatusCodeToString(status.code())}});
  if (!absl::IsPermissionDenied(status) && !absl::IsUnauthenticated(status)) return;
  const std::optional<uint64_t> unsaid = refusals.Take(driver.clock().Uptime());
  if (!unsaid.has_value()) return;
  base::LogWarning("an operator's call is refused", {{"who", who},
                                                     {"method", std::string(method)},
                                                     {"error", std::string(status.message())},
                                                     {"unsaid_before", absl::StrCat(*unsaid)}});
}

void Ask(CoreDriver& driver, std::shared_ptr<base::LogLimit> refusals, absl::StatusOr<Asker> who,
         AdminRequest request, CoreDriver::Answer answer) {
  const absl::string_view method = MethodOf(request);
  if (!who.ok()) {
    Count(driver, *refusals, "unknown", method, who.status());
    return answer(who.status(), nullptr);
  }
  auto counted = [&driver, refusals = std::move(refusals),
                  name = absl::StrCat(who->name, " (", who->from, ")"), method,
                  answer = std::move(answer)](const absl::Status& status,
                                              const google::protobuf::Message* message) mutable {
    Count(driver, *refusals, name, method, status);
    answer(status, message);
  };
  driver.Ask(
      [who = *std::move(who), request = std::move(request)](CallId call) mutable {
        return event::AdminAsked{call, std::move(who), std::move(request)};
      },
      std::move(counted));
}

// Whether a log may be read (further): for streams, which may outlive the service for an instant.
std::function<void(CoreDriver::Answer)> Permission(CoreDriver& driver,
                                                   std::shared_ptr<base::LogLimit> refusals,
                                                   absl::StatusOr<Asker> who,
                                                   AdminRequest request) {
  return [&driver, refusals = std::move(refusals), who = std::move(who),
          request = std::move(request)](CoreDriver::Answer answer) {
    Ask(driver, refusals, who, request, std::move(answer));
  };
}

// What the store vouches for of the issuance log.
absl::StatusOr<state::v1::LogHeadRecord> HeadOf(Store& store) {
  state::v1::LogHeadRecord head;
  const absl::StatusOr<Record> record = store.Get(kLogHeadKey);
  if (absl::IsNotFound(record.status())) return head;
  RETURN_IF_ERROR(record.status());
  if (head.ParseFromString(record->value)) return head;
  return absl::DataLossError("the store's record log/head cannot be read");
}

// On the driver's slow thread.
absl::Status VerifyBoth(CoreDriver& driver, const v1::ChangeSpan& span,
                        v1::LogVerification* response) {
  // First, while `span` is still what is kept.
  const absl::Status changes = VerifyChanges(driver.store(), span);
  ASSIGN_OR_RETURN(const state::v1::LogHeadRecord head, HeadOf(driver.store()));
  ASSIGN_OR_RETURN(*response, driver.log().Verify());
  response->set_anchored_entries(head.entries());
  const absl::Status held = CheckLog(driver.log(), head);
  if (response->intact() && !held.ok()) {
    response->set_problem(std::string(held.message()));
    response->set_intact(false);
  }
  response->set_changes(span.next_index() - span.first_index());
  response->set_changes_head(span.head());
  if (!absl::IsDataLoss(changes)) return changes;
  if (response->intact()) response->set_problem(std::string(changes.message()));
  response->set_intact(false);
  return absl::OkStatus();
}

}  // namespace

template <typename Response>
AdminServiceImpl::Reactor* AdminServiceImpl::Hand(Context* context, AdminRequest request,
                                                  Response* response) {
  Reactor* reactor = context->DefaultReactor();
  Ask(driver_, refusals_, asker_of_(*context), std::move(request), AnswerTo(reactor, response));
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

Reactor* AdminServiceImpl::PlayRelax(Context* context, const trust::v1::SignedRelax* request,
                                     v1::PinSetPublished* response) {
  return Hand(context, ca::PlayRelax{*request}, response);
}

Reactor* AdminServiceImpl::PublishFreshness(Context* context,
                                            const trust::v1::SignedFreshness* request,
                                            v1::PinSetPublished* response) {
  return Hand(context, ca::PublishFreshness{*request}, response);
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

Reactor* AdminServiceImpl::CreateBackup(Context* context, const v1::CreateBackupRequest* request,
                                        v1::Authority* response) {
  auto parsed = x509::CertificateRequest::FromDer(request->certificate_request());
  if (!parsed.ok()) return FinishNow(context->DefaultReactor(), parsed.status());
  return Hand(context, ca::CertifyBackup{*std::move(parsed), request->certificate_request()},
              response);
}

Reactor* AdminServiceImpl::ListAwaited(Context* context, const v1::ListAwaitedRequest* request,
                                       v1::AwaitedList* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::ImportCertificates(Context* context,
                                              const v1::ImportCertificatesRequest* request,
                                              v1::ImportedCertificates* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::FinishBackup(Context* context, const v1::FinishBackupRequest* request,
                                        v1::Authority* response) {
  return Hand(context, *request, response);
}

// The key is taken out of the message, whose memory is wiped, before anything else is done.
Reactor* AdminServiceImpl::Failover(Context* context, const v1::FailoverRequest* request,
                                    v1::Rotation* response) {
  std::string* sent = const_cast<v1::FailoverRequest*>(request)->mutable_private_key();
  const bool has_key = !sent->empty();
  const x509::SecretBytes pem = x509::SecretBytes::TakeAndWipe(sent);
  ca::Failover asked{*request, std::nullopt};
  if (has_key) {
    auto key = x509::PrivateKey::FromPem(pem);
    if (!key.ok()) return FinishNow(context->DefaultReactor(), key.status());
    asked.key = *std::move(key);
  }
  return Hand(context, std::move(asked), response);
}

Reactor* AdminServiceImpl::GetFailover(Context* context, const v1::GetFailoverRequest* request,
                                       v1::FailoverOutlook* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::CreateOperator(Context* context,
                                          const v1::CreateOperatorRequest* request,
                                          v1::OperatorCertificate* response) {
  auto parsed = x509::CertificateRequest::FromDer(request->certificate_request());
  if (!parsed.ok()) return FinishNow(context->DefaultReactor(), parsed.status());
  const absl::StatusOr<Asker> who = asker_of_(*context);
  return Hand(context, ca::CreateOperator{who.ok() ? who->name : "", *request, *std::move(parsed)},
              response);
}

Reactor* AdminServiceImpl::RenewOperator(Context* context, const v1::RenewOperatorRequest* request,
                                         v1::OperatorCertificate* response) {
  auto parsed = x509::CertificateRequest::FromDer(request->certificate_request());
  if (!parsed.ok()) return FinishNow(context->DefaultReactor(), parsed.status());
  const absl::StatusOr<Asker> who = asker_of_(*context);
  return Hand(
      context,
      ca::RenewOperator{who.ok() ? who->name : "", request->ttl_seconds(), *std::move(parsed)},
      response);
}

Reactor* AdminServiceImpl::ListOperators(Context* context, const v1::ListOperatorsRequest* request,
                                         v1::OperatorList* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::DeleteOperator(Context* context,
                                          const v1::DeleteOperatorRequest* request,
                                          v1::Operator* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::DeclareRestored(Context* context,
                                           const v1::DeclareRestoredRequest* request,
                                           v1::RestoredStore* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::GetCoverageHistory(Context* context,
                                              const v1::CoverageHistoryRequest* request,
                                              v1::CoverageHistory* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::Revoke(Context* context, const v1::RevokeRequest* request,
                                  v1::Revoked* response) {
  return Hand(context, *request, response);
}

Reactor* AdminServiceImpl::ListRevocations(Context* context,
                                           const v1::ListRevocationsRequest* request,
                                           v1::RevocationList* response) {
  return Hand(context, *request, response);
}

grpc::ServerWriteReactor<v1::LogEntry>* AdminServiceImpl::ReadLog(
    Context* context, const v1::ReadLogRequest* request) {
  return LogStream<v1::LogEntry>::Make(
      driver_, {.ask = Permission(driver_, refusals_, asker_of_(*context), *request),
                .next = [from = request->from_index()](
                            const v1::ChangeSpan&,
                            std::optional<uint64_t> read) { return read.value_or(from); },
                .read = [&driver = driver_](uint64_t from,
                                            size_t most) { return driver.log().Read(from, most); },
                .follow = request->follow()});
}

grpc::ServerWriteReactor<v1::Change>* AdminServiceImpl::ReadChanges(
    Context* context, const v1::ReadChangesRequest* request) {
  return LogStream<v1::Change>::Make(
      driver_, {.ask = Permission(driver_, refusals_, asker_of_(*context), *request),
                .next =
                    [asked = *request](const v1::ChangeSpan& span, std::optional<uint64_t> read) {
                      // What was dropped meanwhile is passed over.
                      if (read.has_value()) return std::max(*read, span.first_index());
                      const uint64_t from =
                          std::clamp(asked.from_index(), span.first_index(), span.next_index());
                      const bool fewer =
                          asked.last() > 0 && asked.last() < span.next_index() - from;
                      return fewer ? span.next_index() - asked.last() : from;
                    },
                .read = [&driver = driver_](
                            uint64_t from,
                            size_t most) { return ca::ReadChanges(driver.store(), from, most); },
                .follow = request->follow()});
}

Reactor* AdminServiceImpl::VerifyLog(Context* context, const v1::VerifyLogRequest* request,
                                     v1::LogVerification* response) {
  Reactor* reactor = context->DefaultReactor();
  Ask(driver_, refusals_, asker_of_(*context), *request,
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
