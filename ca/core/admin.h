// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How the CA decides what an operator asks for. Each request has one function, found by its type:
//   Answer(tables, now, asked)   for what only looks: the answer;
//   Decide(tables, now, asked)   for what changes something: what to store, and what follows.
// CaCore runs them, for whom operators.h lets ask: Answer at once, Decide when the change's turn
// has come, and what follows when the batch is durable. With the batch goes its record
// (change_log.h). A new request also has a row in operators.cc, a new kind of record one in
// record_text.cc. Pure; one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/random.h"
#include "ca/core/actions.h"
#include "ca/core/authorities.h"
#include "ca/core/core_options.h"
#include "ca/core/coverage.h"
#include "ca/core/events.h"
#include "ca/core/outstanding.h"
#include "ca/core/registry.h"

namespace linchpin::ca {

// What a decision may look at, as it is now. Good for one call.
struct Tables {
  const CoreOptions& options;
  const Registry& registry;
  const Authorities& authorities;
  const Coverage& coverage;
  const Outstanding& outstanding;
  const std::set<std::string>& keys;                 // names that the key manager has
  const std::map<std::string, SessionId>& sessions;  // connected nodes, by node id
  base::Random& random;
  absl::Time started;  // of this core
};

// What is to be done about a request.
struct Decision {
  std::vector<Write> batch;  // committed whole, or not at all; empty: nothing is to be stored
  bool recorded = true;      // in the log of changes; not where the issuance log tells it all
  // Made when the batch is durable and the tables show it.
  std::function<std::shared_ptr<const google::protobuf::Message>(const Tables&, absl::Time)> answer;
  struct Disconnect {
    std::string node_id;
    absl::Status why;
  };
  std::optional<Disconnect> disconnect;  // then
  bool again = false;                    // then, instead of an answer: the same is asked once more
  // Then, instead: this is certified and logged, and the answer is made of leaf (DER) and issuer.
  std::optional<CertificateOrder> order;
  std::function<absl::StatusOr<std::shared_ptr<const google::protobuf::Message>>(
      const Tables&, const std::string& leaf, const x509::Certificate& issuer)>
      certified;
};

// An answer that does not depend on what the tables are then.
template <typename Message>
auto AnswerWith(Message message) {
  return [made = std::make_shared<const Message>(std::move(message))](
             const Tables&, absl::Time) -> std::shared_ptr<const google::protobuf::Message> {
    return made;
  };
}

// admin_authorities.cc
absl::StatusOr<v1::Authorities> Answer(const Tables& tables, absl::Time now,
                                       const v1::GetAuthoritiesRequest&);
v1::Authority Describe(const Tables& tables, absl::Time now, const Authority& authority);
// What an operator should do something about; empty if nothing.
std::string WarningOf(const Authority& authority, const std::set<std::string>& keys,
                      absl::Time now);

// admin_restored.cc
absl::StatusOr<Decision> Decide(const Tables&, absl::Time, const v1::DeclareRestoredRequest&);
// That nodes know more of this store than it does; empty if none is heard to.
std::string NodesAheadWarning(const Tables& tables);

// admin_nodes.cc
absl::StatusOr<Decision> Decide(const Tables&, absl::Time, const v1::CreateJoinTokenRequest&);
absl::StatusOr<v1::NodeList> Answer(const Tables& tables, absl::Time now,
                                    const v1::ListNodesRequest&);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const BanNode& asked);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const ForgetNode& asked);
// A node by its SPIFFE ID or by its name alone. NOT_FOUND.
absl::StatusOr<const Row<state::v1::NodeRecord>*> ResolveNode(const Tables& tables,
                                                              const std::string& node);

// admin_registry.cc
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const CreateIdentity& asked);
absl::StatusOr<v1::IdentityList> Answer(const Tables& tables, absl::Time now,
                                        const v1::ListIdentitiesRequest&);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const UpdateIdentity& asked);
absl::StatusOr<Decision> Decide(const Tables&, absl::Time, const v1::DeleteIdentityRequest&);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const AllowPeer& asked);
absl::StatusOr<v1::PolicyList> Answer(const Tables& tables, absl::Time now,
                                      const v1::ListPolicyRequest&);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const DeletePolicy& asked);

// admin_trust.cc
absl::StatusOr<trust::v1::TrustState> Answer(const Tables&, absl::Time,
                                             const v1::GetTrustStateRequest&);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const PublishPinSet& asked,
                                const std::string& by);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const PlayRelax& asked);
absl::StatusOr<Decision> Decide(const Tables&, absl::Time, const PublishFreshness& asked);

// admin_operators.cc
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const CreateOperator& asked);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const RenewOperator& asked);
absl::StatusOr<v1::OperatorList> Answer(const Tables&, absl::Time, const v1::ListOperatorsRequest&);
absl::StatusOr<Decision> Decide(const Tables&, absl::Time, const v1::DeleteOperatorRequest&);

// admin_log.cc. The logs are read by whoever carries this out: it says that it may be done.
absl::StatusOr<v1::ChangeSpan> Answer(const Tables&, absl::Time, const v1::ReadLogRequest&);
absl::StatusOr<v1::ChangeSpan> Answer(const Tables&, absl::Time, const v1::VerifyLogRequest&);
absl::StatusOr<v1::ChangeSpan> Answer(const Tables&, absl::Time, const v1::ReadChangesRequest&);

// Of what needs keys or certificates made first: what to make, or nothing, and then it is decided
// as it is; else what is decided once they are made.
absl::StatusOr<std::optional<AuthorityPlan>> PlanFor(const Tables&, absl::Time,
                                                     const v1::RotateRequest& asked);
absl::StatusOr<std::optional<AuthorityPlan>> PlanFor(const Tables&, absl::Time,
                                                     const CertifyBackup& asked);
absl::StatusOr<std::optional<AuthorityPlan>> PlanFor(const Tables&, absl::Time,
                                                     const Failover& asked);
BeginRotation WithMade(v1::RotateRequest asked, std::vector<Write> made);
AddBackup WithMade(CertifyBackup asked, std::vector<Write> made);
Failover WithMade(Failover asked, std::vector<Write> made);
absl::StatusOr<std::optional<AuthorityPlan>> PlanFor(const Tables&, absl::Time,
                                                     const v1::ImportCertificatesRequest& asked);
ImportMade WithMade(v1::ImportCertificatesRequest asked, std::vector<Write> made);

// admin_rotation.cc: rotation.h decides.
absl::StatusOr<v1::Rotation> Answer(const Tables&, absl::Time, const v1::GetRotationRequest&);
// `by` is kept with the step.
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const v1::RotateRequest&,
                                const std::string& by);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const BeginRotation& asked,
                                const std::string& by);

// admin_failover.cc: backups.h and failover.h decide.
absl::StatusOr<Decision> Decide(const Tables&, absl::Time, const CertifyBackup& asked);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const AddBackup& asked);
absl::StatusOr<Decision> Decide(const Tables&, absl::Time, const v1::FinishBackupRequest& asked);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const Failover& asked,
                                const std::string& by);
absl::StatusOr<v1::FailoverOutlook> Answer(const Tables&, absl::Time,
                                           const v1::GetFailoverRequest&);

// admin_offline.cc: offline_root.h decides.
absl::StatusOr<v1::AwaitedList> Answer(const Tables&, absl::Time, const v1::ListAwaitedRequest&);
absl::StatusOr<Decision> Decide(const Tables&, absl::Time, const v1::ImportCertificatesRequest&);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const ImportMade& asked,
                                const std::string& by);

// admin_kubernetes.cc
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time, const ApplyKubernetes& asked);

// admin_coverage.cc
absl::StatusOr<v1::Coverage> Answer(const Tables&, absl::Time, const v1::CoverageRequest&);
absl::StatusOr<v1::CoverageHistory> Answer(const Tables&, absl::Time,
                                           const v1::CoverageHistoryRequest&);

// admin_revocation.cc
// The request, if it may be carried out, with the node's whole name. Asked before the log is read:
// a node must be banned by then, so that nothing more leaves through it.
absl::StatusOr<v1::RevokeRequest> CheckRevoke(const Tables& tables, absl::Time now,
                                              v1::RevokeRequest asked);
absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const Revoke& asked);
absl::StatusOr<v1::RevocationList> Answer(const Tables&, absl::Time,
                                          const v1::ListRevocationsRequest&);
// Drops what denies nothing any more, as a change of the trust state; empty if there is nothing.
std::vector<Write> WithoutLapsed(const Registry& registry, absl::Time now);

}  // namespace linchpin::ca
