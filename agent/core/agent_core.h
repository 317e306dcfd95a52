// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The agent as a state machine without I/O, clock or threads. The rules that hold everywhere:
// - nothing but GetTrust goes to a CA that has not shown path, pin and name;
// - what is served or used was sealed before (or could not be: then it is never acknowledged);
// - a trust epoch is acknowledged when it is sealed and the node's own connections use it;
// - a valid certificate is replaced, never dropped, and tries to renew it never end.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "agent/core/actions.h"
#include "agent/core/attempts.h"
#include "agent/core/carried_pins.h"
#include "agent/core/consumers.h"
#include "agent/core/core_options.h"
#include "agent/core/events.h"
#include "agent/core/known_time.h"
#include "agent/core/model.h"
#include "agent/core/offer.h"
#include "agent/core/refusals.h"
#include "agent/core/registrations.h"
#include "agent/core/renewal.h"
#include "base/random.h"

namespace linchpin::agent {

// Not thread-safe.
class AgentCore {
 public:
  // `random` must outlive the core.
  AgentCore(CoreOptions options, base::Random& random);

  Actions Step(const Instant& at, const Event& event);

  // For metrics, readiness and tests.
  const Model& model() const { return *served_; }  // what is served now
  uint64_t held_epoch() const { return held_trust_ == nullptr ? 0 : held_trust_->message.epoch(); }
  bool connected() const { return sync_ == Sync::kOpen; }
  const ConsumerTable& consumers() const { return consumers_; }
  const std::vector<trust::PinConcern>& pin_concerns() const { return pin_concerns_; }
  // Why the agent cannot do its work now; empty if it can.
  std::string NotReady(absl::Time now) const;

 private:
  using ContextPtr = std::shared_ptr<const trust::MtlsContext>;
  enum class Sync { kClosed, kOpening, kOpen };

  using Matched = std::vector<std::pair<const ca::v1::NodeIdentity*, const Offer*>>;

  // Events: agent_core.cc, bootstrap.cc, sync_stream.cc, issuing.cc, serving.cc, pins.cc.
  void On(absl::Time now, const event::Started& event, Actions* out);
  void On(absl::Time now, const event::NodeKeyMade& event, Actions* out);
  void On(absl::Time now, const event::FirstContactDone& event, Actions* out);
  void On(absl::Time now, const event::AttestDone& event, Actions* out);
  void On(absl::Time now, const event::NodeRenewed& event, Actions* out);
  void On(absl::Time now, const event::IdentityInUse& event, Actions* out);
  void On(absl::Time now, const event::Sealed& event, Actions* out);
  void On(absl::Time now, const event::IssueDone& event, Actions* out);
  void On(absl::Time now, const event::SyncOpened& event, Actions* out);
  void On(absl::Time now, const event::SyncReceived& event, Actions* out);
  void On(absl::Time now, const event::SyncClosed& event, Actions* out);
  void On(absl::Time now, const event::ConsumerOpened& event, Actions* out);
  void On(absl::Time now, const event::ConsumerChanged& event, Actions* out);
  void On(absl::Time now, const event::ConsumerHolds& event, Actions* out);
  void On(absl::Time now, const event::ConsumerClosed& event, Actions* out);
  void On(absl::Time now, const event::ProcessExited& event, Actions* out);
  void On(absl::Time now, const event::ConsumerReported& event, Actions* out);
  void On(absl::Time now, const event::PinFilesRead& event, Actions* out);
  void On(absl::Time now, const event::TimerFired&, Actions* out);

  // What is due in the present state: run after each event, in this order.
  void UpkeepPins(absl::Time now, Actions* out);
  void AgePins(absl::Time now, Actions* out);
  void LookForSets(absl::Time now, Actions* out);
  void SealChanges(absl::Time now, Actions* out);
  void UseIdentity(absl::Time now, Actions* out);
  void Bootstrap(absl::Time now, Actions* out);
  void RenewNode(absl::Time now, Actions* out);
  void OpenSync(absl::Time now, Actions* out);
  void IssueDue(absl::Time now, Actions* out);
  void DeliverChanged(absl::Time now, Actions* out);
  void Acknowledge(absl::Time now, Actions* out);
  void PassRefusals(absl::Time now, Actions* out);
  void SetTimer(absl::Time now, Actions* out);

  std::shared_ptr<const Model> WithoutNewRelax(absl::Time, std::shared_ptr<const Model>) const;
  void Serve(std::shared_ptr<const Model> model);
  void Changed() { ++changes_; }
  void Retry(absl::Time now, const absl::Status& why, Attempts* attempts);
  void TryAllNow(absl::Time now);
  bool HasValidNode(absl::Time now) const;
  bool MustAttest(absl::Time now) const { return !HasValidNode(now) || ca_refuses_ || revoked_; }
  void HearRefusal(const absl::Status& status);
  std::string ClockText(absl::Time now) const;  // both clocks, where the CA's is known
  void CompareClocks(absl::Time now, int64_t ca_time, Actions* out);
  absl::StatusOr<ContextPtr> BootstrapContext(const trust::TrustHeld& held,
                                              const std::vector<std::string>& ca_chain,
                                              absl::Time now) const;
  absl::Status TakeNode(absl::Time now, const x509::PrivateKey& key,
                        const ca::v1::AttestResponse& response, const TrustPtr& trust);
  void TakeTrust(absl::Time now, const trust::v1::TrustState& trust, const std::string& incarnation,
                 Actions* out);
  void TakeHeld(absl::Time now, trust::TrustHeld held, Actions* out);
  bool TakeDocuments(absl::Time now, const trust::Carriers& carriers,
                     const std::vector<std::string>& chain, Actions* out);
  void Looked(absl::Time now, const event::FirstContactDone& event, Actions* out);
  bool ShutOut(absl::Time now) const;
  trust::AcceptOptions Accepting(absl::Time now) const;
  void TakeProjection(absl::Time now, sync::Projection projection);
  void TakeIssued(absl::Time now, const event::IssueDone::Result& result, Actions* out);
  void UpdateWanted();
  void AlarmExpired(absl::Time now, Actions* out);
  const Offer* OfferOf(const ca::v1::NodeIdentity& identity);  // null: no certificate
  void Deliver(absl::Time now, const ConsumerId& id, Consumer* consumer, Actions* out);
  std::shared_ptr<v1::MtlsContexts> MessageFor(const ConsumerId& id, const Consumer& consumer,
                                               const Delivered& delivered,
                                               const Matched& matched) const;
  ca::v1::Hello MakeHello();

  const CoreOptions options_;
  base::Random& random_;

  // The latest, what is being sealed, what is sealed, what is served.
  Model latest_;
  std::shared_ptr<const Model> sealing_;
  std::shared_ptr<const Model> sealed_;
  std::shared_ptr<const Model> served_ = std::make_shared<Model>();
  uint64_t changes_ = 0;           // of latest_
  uint64_t tried_ = 0, kept_ = 0;  // the changes last given to Seal, and sealed
  Ticket seal_ticket_ = 0;
  Attempts seal_;
  Ticket last_ticket_ = 0;

  // The node's own identity.
  std::optional<trust::TrustHeld> first_contact_;
  ContextPtr bootstrap_context_;
  Attempts node_key_, contact_, attest_, renew_node_;
  bool by_token_ = false;  // of the next attestation, although there is an old certificate
  // The node's certificate, although it has not expired: by the CA, and by the trust that is held.
  bool ca_refuses_ = false, revoked_ = false;
  uint64_t generation_ = 0;
  CertifiedPtr asked_node_, node_in_use_;  // of UseNodeIdentity, of IdentityInUse
  TrustPtr asked_trust_, trust_in_use_;
  ContextPtr asked_context_, context_in_use_;
  TrustPtr held_trust_;  // sealed and in use: what is acknowledged

  // Pins.
  KnownTime time_;
  CarriedPins carried_;
  std::vector<trust::PinConcern> pin_concerns_;
  // Sync.
  Sync sync_ = Sync::kClosed;
  Ticket stream_ = 0;
  Attempts stream_tries_;
  CertifiedPtr stream_node_;  // shown on the present stream
  std::vector<std::string> ca_chain_;
  bool closing_ = false;
  bool want_snapshot_ = false;
  std::optional<sync::Receiver> receiver_;
  absl::Duration come_back_after_ = absl::ZeroDuration();
  std::string refused_;       // why a newer trust state was not taken
  std::string refused_of_;    // the life of the store that sent it
  ca::v1::Ack acknowledged_;  // last said on this stream, without consumers
  std::map<std::string, std::string> rows_acknowledged_;
  absl::Duration clock_ahead_ = absl::ZeroDuration();  // of the CA's
  bool clock_alarmed_ = false;

  // Issuing.
  std::shared_ptr<const Registrations> latest_registrations_;
  RenewalSchedule schedule_;
  Ticket issue_ticket_ = 0;
  std::map<std::string, ca::v1::NodeIdentity> issuing_;  // as registered when asked
  std::set<std::string> expired_alarmed_;
  absl::Time expiry_alarm_at_ = absl::InfinitePast();  // the next, not before
  std::shared_ptr<const Registrations> wanted_of_;     // what was wanted was made of these
  uint64_t wanted_for_ = 0;                            // and of this version of the selectors

  // Serving.
  std::shared_ptr<const Registrations> registrations_;  // of served_
  std::map<std::string, Offer> offers_;
  ConsumerTable consumers_;
  std::set<ConsumerId> undelivered_;
  Refusals refusals_;
  absl::Time refusals_at_ = absl::InfinitePast(), rows_at_ = absl::InfinitePast();  // not before
  absl::Time timer_ = absl::InfiniteFuture();
  absl::Time last_step_ = absl::InfinitePast();
};

}  // namespace linchpin::agent
