// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/node_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/server/answer.h"
#include "ca/server/sync_stream.h"
#include "rpc/server_credentials.h"
#include "rpc/status.h"
#include "trust/text.h"
#include "x509/certificate_request.h"

namespace linchpin::ca {
namespace {

// The judged caller; the credentials let nobody else through, this only takes no chance.
absl::StatusOr<NodeCaller> NodeOf(const grpc::CallbackServerContext& context) {
  const std::shared_ptr<const rpc::JudgedPeer> peer = rpc::PeerOf(context);
  if (peer == nullptr || !peer->id.IsNode()) {
    return absl::UnauthenticatedError("a node certificate is expected");
  }
  return NodeCaller{peer->id.ToString(), peer->pin.bytes(), peer->leaf};
}

NodeEvidence EvidenceOf(NodeClaim claim) {
  if (claim.expired_certificate.has_value()) {
    return ExpiredCertificateEvidence{*std::move(claim.expired_certificate)};
  }
  if (claim.kubernetes.has_value()) {
    NodeClaim::Kubernetes& node = *claim.kubernetes;
    return KubernetesEvidence{std::move(node.cluster), std::move(node.node_name),
                              std::move(node.node_uid), std::move(node.pod_uid)};
  }
  return TokenEvidence{std::move(claim.join_token_sha256)};
}

}  // namespace

std::vector<std::string> OpenMethods() {
  return {"/linchpin.ca.v1.NodeService/GetTrust", "/linchpin.ca.v1.NodeService/Attest"};
}

grpc::ServerUnaryReactor* NodeServiceImpl::GetTrust(grpc::CallbackServerContext* context,
                                                    const v1::GetTrustRequest* request,
                                                    v1::GetTrustResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  driver_.Ask(
      [asked = *request](CallId call) {
        return event::GetTrustAsked{call, asked};
      },
      AnswerTo(reactor, response));
  return reactor;
}

grpc::ServerUnaryReactor* NodeServiceImpl::Attest(grpc::CallbackServerContext* context,
                                                  const v1::AttestRequest* request,
                                                  v1::AttestResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  auto parsed = x509::CertificateRequest::FromDer(request->certificate_request());
  if (!parsed.ok()) return FinishNow(reactor, parsed.status());
  for (const auto& verifier : verifiers_) {
    if (!verifier->Handles(*request)) continue;
    verifier->Verify(*request, [&driver = driver_, reactor, response, parsed = *std::move(parsed)](
                                   absl::StatusOr<NodeClaim> claim) mutable {
      if (!claim.ok()) return (void)FinishNow(reactor, claim.status());
      driver.Ask(
          [parsed = std::move(parsed), claim = *std::move(claim)](CallId call) mutable {
            return event::AttestAsked{call, std::move(parsed), EvidenceOf(std::move(claim))};
          },
          AnswerTo(reactor, response));
    });
    return reactor;
  }
  return FinishNow(reactor, absl::InvalidArgumentError(
                                "the request has no evidence that this CA knows how to verify; "
                                "send a join token"));
}

grpc::ServerUnaryReactor* NodeServiceImpl::RenewNode(grpc::CallbackServerContext* context,
                                                     const v1::RenewNodeRequest* request,
                                                     v1::AttestResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::StatusOr<NodeCaller> node = NodeOf(*context);
  if (!node.ok()) return FinishNow(reactor, node.status());
  auto parsed = x509::CertificateRequest::FromDer(request->certificate_request());
  if (!parsed.ok()) return FinishNow(reactor, parsed.status());
  driver_.Ask(
      [node = *std::move(node), parsed = *std::move(parsed)](CallId call) mutable {
        return event::RenewAsked{call, std::move(node), std::move(parsed)};
      },
      AnswerTo(reactor, response));
  return reactor;
}

grpc::ServerUnaryReactor* NodeServiceImpl::Issue(grpc::CallbackServerContext* context,
                                                 const v1::IssueRequest* request,
                                                 v1::IssueResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::StatusOr<NodeCaller> node = NodeOf(*context);
  if (!node.ok()) return FinishNow(reactor, node.status());
  const size_t count = static_cast<size_t>(request->items_size());
  if (count > CaCore::kMaxIssueItems) {
    return FinishNow(reactor, absl::InvalidArgumentError(absl::StrCat(
                                  "the call asks for ", count, " certificates; at most ",
                                  CaCore::kMaxIssueItems, " are allowed")));
  }
  std::vector<IssueAskedItem> items;
  items.reserve(count);
  for (const v1::IssueItem& item : request->items()) {
    if (item.certificate_request().size() > x509::CertificateRequest::kMaxDer) {
      return FinishNow(
          reactor, absl::InvalidArgumentError(absl::StrCat(
                       "the certificate request for ", trust::Quoted(item.identity_id()), " has ",
                       item.certificate_request().size(), " bytes; at most ",
                       x509::CertificateRequest::kMaxDer, " are read")));
    }
    items.push_back(
        {item.identity_id(), item.certificate_request(),
         item.held_until() > 0 ? absl::FromUnixSeconds(item.held_until()) : absl::InfinitePast()});
  }
  driver_.Ask(
      [node = *std::move(node), items = std::move(items),
       deadline = absl::FromChrono(context->deadline())](CallId call) mutable {
        return event::IssueAsked{call, std::move(node), std::move(items), deadline};
      },
      AnswerTo(reactor, response));
  return reactor;
}

grpc::ServerBidiReactor<v1::NodeMessage, v1::CaMessage>* NodeServiceImpl::Sync(
    grpc::CallbackServerContext* context) {
  absl::StatusOr<NodeCaller> node = NodeOf(*context);
  if (!node.ok()) return SyncStream::Refuse(driver_, context, node.status());
  return SyncStream::Make(driver_, context, *std::move(node));
}

}  // namespace linchpin::ca
