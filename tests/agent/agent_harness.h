// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// An AgentCore in a world that answers each of its actions at once, unless a test holds the answer
// back or makes it a failure.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/core/agent_core.h"
#include "tests/support/seeded_random.h"
#include "tests/trust/test_authority.h"

namespace linchpin::test {

class AgentHarness {
 public:
  explicit AgentHarness(uint64_t seed = 1);

  // A new process of the agent, from `state` or from what was sealed last.
  void Start();
  void Restart();
  void Do(agent::Event event);
  void Advance(absl::Duration by);  // fires the timers that fall due
  // Attested, synchronised at trust epoch 1, revision 1.
  void Join();

  // The CA says something.
  ca::v1::CaMessage Message(uint64_t revision) const;
  void Say(const ca::v1::CaMessage& message);
  void Register(const std::string& identity_id, const std::string& path,
                const std::vector<std::string>& selectors, uint64_t revision);
  void Unregister(const std::string& identity_id, uint64_t revision);
  void SayTrust(const trust::v1::TrustState& trust, uint64_t revision);
  void Open(const std::string& consumer, const std::vector<std::string>& selectors,
            ca::v1::Evidence evidence = ca::v1::IN_FORCE);

  std::vector<std::string> Chain(const x509::PrivateKey& key, const std::string& path) const;
  const Certified& IssuerFor(const std::string& path) const;
  const agent::v1::MtlsContexts* Last(const std::string& consumer) const;
  bool Alarmed(const std::string& part) const;
  size_t CountLog(const std::string& line) const;

  TestAuthority authority;
  absl::Time now = kNow;
  SeededRandom random;
  std::optional<agent::CoreOptions> options;
  std::unique_ptr<agent::AgentCore> core;
  std::optional<state::v1::AgentState> sealed;
  std::vector<std::string> alive;  // processes, at the next start

  // What the world does.
  bool ca_up = true;
  absl::Status seal_status;
  absl::Status issue_status;
  absl::Status attest_status;
  bool hold_seals = false;
  bool hold_uses = false;
  bool hold_issues = false;
  std::deque<agent::Event> held;  // answers that were held back
  void Release();                 // gives them
  absl::Duration leaf_life = absl::Hours(1);
  absl::Duration backdate = absl::Seconds(60);
  absl::Duration ca_clock_ahead = absl::ZeroDuration();
  std::vector<std::string> shown;  // chain at first contact; empty: leaf, issuer, root
  std::vector<trust::v1::SignedPinSet> shown_sets;
  bool refuses_streams = false;
  absl::Status stream_status;       // what the CA says to one whose certificate it does not take
  std::optional<Certified> issuer;  // the CA's; none: the authority's active one
  bool serves_by_active = false;    // its own certificate is not of `issuer`
  std::optional<trust::v1::TrustState> trust_at_attestation;  // none: of epoch 1
  std::string incarnation = "store";                          // of the CA's
  std::optional<absl::Duration> uptime;                       // none: the clock never jumps

  // What the core did.
  std::vector<std::string> log;
  std::vector<ca::v1::Hello> hellos;
  std::vector<ca::v1::Ack> acks;
  std::map<std::string, std::vector<std::shared_ptr<const agent::v1::MtlsContexts>>> deliveries;
  std::map<std::string, absl::Status> ended;
  std::vector<std::string> alarms, notes;
  std::vector<std::vector<std::string>> issues;
  std::optional<agent::action::Attest> attest;
  uint64_t stream = 0;
  absl::Time timer = absl::InfiniteFuture();

 private:
  void Act(const agent::action::MakeNodeKey&);
  void Act(const agent::action::FirstContact&);
  void Act(const agent::action::Attest& action);
  void Act(const agent::action::RenewNode&);
  void Act(const agent::action::UseNodeIdentity& action);
  void Act(const agent::action::Seal& action);
  void Act(const agent::action::Issue& action);
  void Act(const agent::action::OpenSync& action);
  void Act(const agent::action::CloseSync& action);
  void Act(const agent::action::SendAck& action);
  void Act(const agent::action::SendVerdicts&);
  void Act(const agent::action::Deliver& action);
  void Act(const agent::action::EndConsumer& action);
  void Act(const agent::action::SetTimer& action);
  void Act(const agent::action::Alarm& action);
  void Act(const agent::action::Note& action);
  void Answer(agent::Event event, bool hold = false);
  ca::v1::AttestResponse NodeResponse(const x509::PrivateKey& key) const;
  bool Answers() const;  // it is up, and its issuer has not ended
  // What a connection comes to: the CA is judged, or down.
  absl::Status Connect(const trust::MtlsContext& context) const;

  std::deque<agent::Event> events_;
  std::shared_ptr<const trust::MtlsContext> context_;  // of the node's connections
  bool busy_ = false;
  int keys_made_ = 0;
};

}  // namespace linchpin::test
