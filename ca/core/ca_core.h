// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The CA as a state machine without I/O, clock or threads. Two rules hold everywhere: the tables
// change only when a commit is known to be durable, and a certificate leaves only when the log has
// it (no Reply with a chain before Issued).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/random.h"
#include "ca/core/actions.h"
#include "ca/core/admin.h"
#include "ca/core/allowance.h"
#include "ca/core/authorities.h"
#include "ca/core/core_options.h"
#include "ca/core/coverage.h"
#include "ca/core/epoch_history.h"
#include "ca/core/events.h"
#include "ca/core/issue_queue.h"
#include "ca/core/registry.h"

namespace linchpin::ca {

// Not thread-safe.
class CaCore {
 public:
  static constexpr size_t kMaxQueued = 4096;     // changes that wait for their turn
  static constexpr size_t kMaxIssuing = 4096;    // calls whose certificates are being made
  static constexpr size_t kMaxIssueItems = 256;  // in a call
  static constexpr size_t kMaxSessions = 20000;
  static constexpr size_t kMaxChangesOfNode = 4;  // that wait; its Issue calls: IssueQueue

  // `listing` is everything in the store, with at least what FirstRecords() makes. DATA_LOSS names
  // the record that cannot be read. `random` must outlive the core.
  static absl::StatusOr<std::unique_ptr<CaCore>> Make(CoreOptions options,
                                                      const Store::Listing& listing,
                                                      base::Random& random);

  Actions Step(absl::Time now, Event event);

  // For metrics and tests.
  const Registry& registry() const { return registry_; }
  const Authorities& authorities() const { return authorities_; }
  size_t connected_nodes() const { return sessions_.size(); }
  bool idle() const;  // nothing is under way: a drained core may be destroyed
  // Why the CA cannot do its work now; empty if it can.
  std::string NotReady(absl::Time now) const;
  size_t usable_backups(absl::Time now) const;
  // Sentences that an operator should act on.
  std::vector<std::string> Warnings(absl::Time now) const;

 private:
  // A change, prepared against the tables as they are when its turn comes.
  struct Change {
    std::vector<Write> batch;  // empty: nothing to store, `then` runs at once
    absl::AnyInvocable<void(absl::Time, Actions*)> then;  // after the commit; may be empty
  };
  using Prepare = absl::AnyInvocable<absl::StatusOr<Change>(absl::Time)>;
  struct Queued {
    std::optional<CallId> call;  // is told if it fails
    Prepare prepare;
  };
  struct UnderWay {
    Ticket ticket = 0;
    std::optional<CallId> call;
    Change change;
    absl::Status fault;  // not OK: whether it was stored is known after a reload
  };
  using Done = absl::AnyInvocable<void(absl::Time, absl::StatusOr<MadeCertificates>, Actions*)>;
  using Slices = std::map<SessionId, sync::Projection>;

  CaCore(CoreOptions options, base::Random& random)
      : options_(std::move(options)), random_(random) {}

  // ca_core.cc
  absl::Status Admit(CallId call, const std::string& node_id);
  void Answered(CallId call);
  void On(absl::Time now, event::Started event, Actions* out);
  void On(absl::Time now, event::Committed event, Actions* out);
  void On(absl::Time now, event::Issued event, Actions* out);
  void On(absl::Time now, event::Reloaded event, Actions* out);
  void On(absl::Time now, event::Tick event, Actions* out);
  void On(absl::Time now, event::Draining event, Actions* out);
  void Enqueue(absl::Time now, std::optional<CallId> call, Prepare prepare, Actions* out);
  void StartNext(absl::Time now, Actions* out);
  void Finish(absl::Time now, const absl::Status& status, Actions* out);
  void SignAndLog(const Authority& issuer, std::vector<CertificateOrder> orders, Done done,
                  Actions* out);
  absl::Status Apply(const std::vector<Write>& batch, Revision revision);
  void PruneTokens(absl::Time now, Actions* out);
  void KeepUp(absl::Time now, bool all, Actions* out);  // ca_core_upkeep.cc

  // ca_core_nodes.cc
  void On(absl::Time now, event::AttestAsked event, Actions* out);
  void On(absl::Time now, event::RenewAsked event, Actions* out);
  void On(absl::Time now, event::ServingKeyMade event, Actions* out);
  absl::Status CheckCaller(const NodeCaller& caller) const;
  absl::Status CheckOrTake(absl::Time now, const NodeCaller& caller, Actions* out);
  absl::StatusOr<std::string> CheckEvidence(absl::Time now, const event::AttestAsked& asked) const;
  absl::StatusOr<state::v1::TokenRecord> CheckToken(absl::Time now, const TokenEvidence& evidence,
                                                    const x509::PublicKey& key) const;
  absl::StatusOr<std::string> CheckExpired(absl::Time now,
                                           const ExpiredCertificateEvidence& evidence,
                                           const x509::PublicKey& key) const;
  absl::StatusOr<Change> PrepareAttest(absl::Time now, const event::AttestAsked& asked);
  absl::StatusOr<Change> CertifyNode(absl::Time now, CallId call, state::v1::NodeRecord node,
                                     const x509::CertificateRequest& request);
  const Authority& ServingIssuer(absl::Time now) const;
  void RenewServing(absl::Time now, Actions* out);
  void UseServing(absl::Time now, const absl::StatusOr<std::string>& der, Actions* out);

  // ca_core_issue.cc
  absl::StatusOr<x509::CertificateSpec> SpecFor(LeafNames, absl::Duration ttl, absl::Time now);
  struct Issuing;
  void On(absl::Time now, event::IssueAsked event, Actions* out);
  void BeginIssuing(absl::Time now, Actions* out);
  void Begin(absl::Time now, event::IssueAsked asked, Actions* out);
  void AnswerIssue(Issuing issuing, absl::StatusOr<MadeCertificates> made, Actions* out);
  absl::StatusOr<CertificateOrder> OrderFor(absl::Time, const std::string& node, IssueAskedItem&);

  // ca_core_sync.cc
  void On(absl::Time now, event::GetTrustAsked event, Actions* out);
  void On(absl::Time now, event::NodeHello event, Actions* out);
  void On(absl::Time now, event::NodeAck event, Actions* out);
  void On(absl::Time now, event::NodeVerdicts event, Actions* out);
  void On(absl::Time now, event::NodeGone event, Actions* out);
  void CloseSessionOf(const std::string& node, const absl::Status&, bool at_once, Actions* out);
  Slices SlicesOf(const Touched& touched) const;
  void PushChanges(absl::Time now, const Touched& touched, const Slices& before, Actions* out);
  void UseTrust(Actions* out);
  sync::Stamp StampNow(absl::Time now, uint64_t base_revision) const;

  // ca_core_admin.cc: runs what admin.h decides.
  Tables TablesNow() const {
    return {options_, registry_,   authorities_, coverage_,         outstanding_,
            keys_,    session_of_, random_,      history_.started()};
  }
  void On(absl::Time now, event::AdminAsked event, Actions* out);
  void On(absl::Time now, event::PossessionProved event, Actions* out);
  void On(absl::Time now, event::AuthoritiesMade event, Actions* out);
  void On(absl::Time now, event::KeysSeen event, Actions* out);
  template <typename Asked>
  void Admin(absl::Time now, CallId call, const Asker& who, const Asked& asked, Actions* out);
  void Admin(absl::Time, CallId call, const Asker&, const v1::ProvePossessionRequest& asked,
             Actions* out);
  void Admin(absl::Time now, CallId call, const Asker& who, const v1::RevokeRequest& asked,
             Actions* out);
  void On(absl::Time now, event::IssuedFound event, Actions* out);
  Change ChangeFor(event::AdminAsked asked, Decision decision);
  template <typename Asked>
  void AskChange(absl::Time now, CallId call, const Asker& who, const Asked& asked, Actions* out);
  void Rotate(absl::Time now, Actions* out);
  void CertifyFor(CallId, CertificateOrder, decltype(Decision::certified) answer, Actions* out);

  const CoreOptions options_;
  base::Random& random_;
  Registry registry_;
  Authorities authorities_;
  Coverage coverage_;
  Outstanding outstanding_;
  EpochHistory history_;
  std::shared_ptr<const trust::TrustState> own_trust_;  // what nodes are judged with
  struct Session {
    NodeCaller node;
    Revision sent = 0;  // of the last change, or the Hello's: what the next one changes
  };
  std::map<SessionId, Session> sessions_;
  std::map<std::string, SessionId> session_of_;  // by node id
  Allowance hellos_{kHellosOfNode, kBetweenHellos};
  Allowance changes_{kChangesOfOperator, kBetweenChanges};
  std::map<CallId, std::string> calls_;     // of nodes, not answered yet: node ids
  std::map<std::string, size_t> calls_of_;  // their number by node id
  std::set<std::string> taking_, keys_;  // nodes that changes below take; the key manager's names
  std::deque<Queued> queue_;
  std::optional<UnderWay> under_way_;
  bool reload_due_ = false;  // the last Reload failed
  std::map<Ticket, Done> issuing_;
  IssueQueue issue_queue_;
  Ticket next_ticket_ = 1;
  std::string serving_by_, cannot_serve_;  // pins: asked last for the CA's own, could not make it
  std::vector<std::string> warned_;        // of at the last look
  absl::Time serving_renew_at_ = absl::InfiniteFuture();
  absl::Time serving_expires_ = absl::InfinitePast();
  absl::Time prune_at_ = absl::InfinitePast(), lapse_at_ = absl::InfinitePast();  // not before
  event::Tick last_tick_;
  bool history_queued_ = false, draining_ = false;
};

}  // namespace linchpin::ca
