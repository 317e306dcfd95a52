// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A node in the simulation: the production agent core with a disk that survives its crashes, a
// clock of its own, a network that loses things, and the services that run there.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/core/agent_core.h"
#include "tests/sim/pin_signers.h"
#include "tests/sim/pin_witness.h"
#include "tests/sim/sim_ca.h"
#include "tests/sim/sim_service.h"
#include "tests/sim/world.h"
#include "x509/path.h"

namespace linchpin::sim {

class SimNode {
 public:
  struct Parts {
    std::string name;
    absl::Duration clock_offset;
    std::function<void(tls::ConnectionId)> end_connection;
    const PinSigners& signers;
  };
  SimNode(World& world, SimCa& ca, Parts parts);

  // The agent's process. The token is kept, and what is read at the first start: the root's pin or
  // who signs.
  void Start(const std::string& token);
  void Crash();
  // The agent's data directory is emptied: it begins again once it is given a token.
  bool IsUnderSetZero() const { return !signers_ && core_->model().pin_set_version() == 0; }
  void Empty();
  // A person gives it another token, and may do so in vain.
  void TakeToken(const std::string& token) { token_ = token; }
  // It has been a node, and shows nothing that is valid any more.
  bool has_expired() const {
    return core_->model().node && core_->model().node->expires_at <= clock();
  }
  void Reboot();  // the machine: the time since its start begins again
  // What lies in the files that the agent reads.
  void PutFiles(const trust::v1::PinDocuments& documents);
  bool up() const { return core_ != nullptr; }
  void set_partitioned(bool partitioned);
  void set_clock_offset(absl::Duration offset) { parts_.clock_offset = offset; }
  void set_faulty(bool faulty) { faulty_ = faulty; }

  absl::Time clock() const { return world_.now() + parts_.clock_offset; }
  x509::PathMemo& memo() { return memo_; }
  const PinWitness& witness() const { return witness_; }
  absl::Duration up_for() const { return world_.now() - started_at_; }
  const std::string& name() const { return parts_.name; }
  std::string node_id() const;
  const agent::AgentCore& core() const { return *core_; }
  uint64_t sealed_epoch() const { return disk_ ? disk_->trust().epoch() : 0; }
  std::string sealed_digest() const { return disk_ ? disk_->trust_digest() : ""; }

  // The services of this node; made once.
  SimService* AddService(const std::string& selector);
  std::vector<std::unique_ptr<SimService>>& services() { return services_; }

  // What services ask of their agent. 0: there is none.
  uint64_t OpenConsumer(SimService* service);
  absl::Status Reported(const agent::v1::ReportRequest& report);
  void Exited(const std::string& process);
  void EndConnection(tls::ConnectionId id) { parts_.end_connection(id); }

 private:
  using CallDone = std::function<void(absl::StatusOr<SimCa::Message>)>;

  void Step(const agent::Event& event);
  agent::Instant instant() const { return {clock(), world_.now() - booted_at_}; }
  void ReadCaPins();
  void FollowIncarnation();
  // Set 0 does not protect from whoever has the CA: no promise is made, so no lie is told.
  bool Reaches() const;
  void CheckCertificatesStay(const agent::Model& before) const;
  void Later(absl::Duration most, std::function<void()> work);
  // One RPC over a judged connection; nothing comes back but through `done`, which comes once.
  void Rpc(std::shared_ptr<const trust::MtlsContext> context,
           std::function<ca::Event(ca::CallId)> request, CallDone done);
  // Both ends of a handshake with the CA.
  absl::Status Handshake(const trust::MtlsContext& context) const;
  std::shared_ptr<const trust::MtlsContext> context() const { return own_context_; }

  void Do(const agent::action::MakeNodeKey& action);
  void Do(const agent::action::FirstContact& action);
  void Do(const agent::action::Attest& action);
  void Do(const agent::action::RenewNode& action);
  void Do(const agent::action::UseNodeIdentity& action);
  void Do(const agent::action::Seal& action);
  void Do(const agent::action::Issue& action);
  void Do(const agent::action::OpenSync& action);
  void Do(const agent::action::CloseSync& action);
  void Do(const agent::action::SendAck& action);
  void Do(const agent::action::SendVerdicts& action);
  void Do(const agent::action::Deliver& action);
  void Do(const agent::action::EndConsumer& action);
  void Do(const agent::action::SetTimer& action);
  void Do(const agent::action::Alarm& action);
  void Do(const agent::action::Note& action);
  // Over the stream: in order, after everything sent before.
  void Arrive(agent::Ticket stream, agent::Event event);
  void StreamBroke(agent::Ticket stream, const absl::Status& status);
  ca::NodeCaller Caller() const;  // as it shows itself; it has a certificate
  void Received(const std::vector<std::string>& chain) const;
  void Heard(const ca::v1::AttestResponse& response);

  World& world_;
  SimCa& ca_;
  Parts parts_;
  test::SeededRandom core_random_;
  mutable x509::PathMemo memo_;  // what Handshake() learns changes no answer
  PinWitness witness_;
  bool partitioned_ = false;
  bool faulty_ = true;

  // What survives.
  std::optional<state::v1::AgentState> disk_;
  uint64_t acknowledged_epoch_ = 0;
  std::string incarnation_;   // that it belongs to
  uint64_t most_sealed_ = 0;  // epoch, ever
  std::string token_;
  std::vector<x509::SpkiPin> pins_;
  std::optional<trust::v1::SignersFile> signers_;
  std::optional<trust::v1::PinDocuments> files_;
  absl::Time booted_at_;
  bool rebooted_ = false;
  std::vector<std::unique_ptr<SimService>> services_;

  // What does not.
  uint64_t life_ = 0;
  absl::Time started_at_ = absl::InfiniteFuture();
  std::unique_ptr<agent::AgentCore> core_;
  bool unsealed_ = false;  // a seal failed in this life: what is served may be lost
  std::shared_ptr<const trust::MtlsContext> own_context_;
  agent::Ticket stream_ = 0;
  ca::SessionId session_ = 0;
  // Of the stream's last message, from the CA and to it: each way keeps its order.
  absl::Time last_arrival_ = absl::InfinitePast(), last_ack_ = absl::InfinitePast();
  uint64_t timer_ = 0;
  uint64_t last_consumer_ = 0;
  std::map<std::string, SimService*> consumers_;
};

}  // namespace linchpin::sim
