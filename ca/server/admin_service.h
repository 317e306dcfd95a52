// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// AdminService over gRPC: says who asks (askers.h) and hands what is asked to the core, which
// decides whether they may.
#pragma once

#include <memory>
#include <utility>

#include "base/log_limit.h"
#include "ca/server/askers.h"
#include "ca/server/core_driver.h"
#include "linchpin/ca/v1/admin.grpc.pb.h"

namespace linchpin::ca {

class AdminServiceImpl final : public v1::AdminService::CallbackService {
 public:
  // `driver` outlives this.
  AdminServiceImpl(CoreDriver& driver, AskerLookup asker_of)
      : driver_(driver), asker_of_(std::move(asker_of)) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* GetAuthorities(Context*, const v1::GetAuthoritiesRequest*, v1::Authorities*) override;
  Reactor* CreateJoinToken(Context*, const v1::CreateJoinTokenRequest*, v1::JoinToken*) override;
  Reactor* ListNodes(Context*, const v1::ListNodesRequest*, v1::NodeList*) override;
  Reactor* BanNode(Context*, const v1::NodeRequest*, v1::Node*) override;
  Reactor* ForgetNode(Context*, const v1::NodeRequest*, v1::Node*) override;
  Reactor* CreateIdentity(Context*, const v1::Identity*, v1::Identity*) override;
  Reactor* ListIdentities(Context*, const v1::ListIdentitiesRequest*, v1::IdentityList*) override;
  Reactor* UpdateIdentity(Context*, const v1::Identity*, v1::Identity*) override;
  Reactor* DeleteIdentity(Context*, const v1::DeleteIdentityRequest*, v1::Identity*) override;
  Reactor* AllowPeer(Context*, const trust::v1::PeerRule*, v1::PolicyChange*) override;
  Reactor* ListPolicy(Context*, const v1::ListPolicyRequest*, v1::PolicyList*) override;
  Reactor* DeletePolicy(Context*, const trust::v1::PeerRule*, v1::PolicyChange*) override;
  Reactor* GetTrust(Context*, const v1::GetTrustStateRequest*, trust::v1::TrustState*) override;
  Reactor* PublishPinSet(Context*, const trust::v1::SignedPinSet*, v1::PinSetPublished*) override;
  Reactor* PlayRelax(Context*, const trust::v1::SignedRelax*, v1::PinSetPublished*) override;
  Reactor* PublishFreshness(Context*, const trust::v1::SignedFreshness*,
                            v1::PinSetPublished*) override;
  Reactor* ProvePossession(Context*, const v1::ProvePossessionRequest*,
                           trust::v1::PossessionProof*) override;
  Reactor* GetCoverage(Context*, const v1::CoverageRequest*, v1::Coverage*) override;
  Reactor* Rotate(Context*, const v1::RotateRequest*, v1::Rotation*) override;
  Reactor* CreateBackup(Context*, const v1::CreateBackupRequest*, v1::Authority*) override;
  Reactor* FinishBackup(Context*, const v1::FinishBackupRequest*, v1::Authority*) override;
  Reactor* ListAwaited(Context*, const v1::ListAwaitedRequest*, v1::AwaitedList*) override;
  Reactor* ImportCertificates(Context*, const v1::ImportCertificatesRequest*,
                              v1::ImportedCertificates*) override;
  Reactor* Failover(Context*, const v1::FailoverRequest*, v1::Rotation*) override;
  Reactor* GetFailover(Context*, const v1::GetFailoverRequest*, v1::FailoverOutlook*) override;
  Reactor* GetRotation(Context*, const v1::GetRotationRequest*, v1::Rotation*) override;
  Reactor* CreateOperator(Context*, const v1::CreateOperatorRequest*,
                          v1::OperatorCertificate*) override;
  Reactor* RenewOperator(Context*, const v1::RenewOperatorRequest*,
                         v1::OperatorCertificate*) override;
  Reactor* ListOperators(Context*, const v1::ListOperatorsRequest*, v1::OperatorList*) override;
  Reactor* DeclareRestored(Context*, const v1::DeclareRestoredRequest*,
                           v1::RestoredStore*) override;
  Reactor* DeleteOperator(Context*, const v1::DeleteOperatorRequest*, v1::Operator*) override;
  Reactor* GetCoverageHistory(Context*, const v1::CoverageHistoryRequest*,
                              v1::CoverageHistory*) override;
  Reactor* Revoke(Context*, const v1::RevokeRequest*, v1::Revoked*) override;
  Reactor* ListRevocations(Context*, const v1::ListRevocationsRequest*,
                           v1::RevocationList*) override;
  grpc::ServerWriteReactor<v1::LogEntry>* ReadLog(Context*, const v1::ReadLogRequest*) override;
  Reactor* VerifyLog(Context*, const v1::VerifyLogRequest*, v1::LogVerification*) override;
  grpc::ServerWriteReactor<v1::Change>* ReadChanges(Context*,
                                                    const v1::ReadChangesRequest*) override;

 private:
  template <typename Response>
  Reactor* Hand(Context* context, AdminRequest request, Response* response);

  CoreDriver& driver_;
  const AskerLookup asker_of_;
  // Shared with what may still be under way when this has ended.
  const std::shared_ptr<base::LogLimit> refusals_ = std::make_shared<base::LogLimit>();
};

}  // namespace linchpin::ca
