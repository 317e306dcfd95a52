// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A service in the simulation: the production SDK core, with contexts that are swapped a moment
// after it says so.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "ca/store/store.h"
#include "sdk/sdk_core.h"
#include "tests/sim/world.h"

namespace linchpin::sim {

class SimNode;

class SimService {
 public:
  SimService(World& world, SimNode& node, std::string selector);

  void Start();  // a new process
  void Crash();
  bool running() const { return core_ != nullptr; }
  const std::string& selector() const { return selector_; }
  std::string process() const;  // this life of it

  // From the agent. `made_at` is the revision that the message was made of.
  void Receive(uint64_t stream, agent::v1::MtlsContexts message, ca::Revision made_at);
  void StreamEnded(uint64_t stream);
  // What is in force came over the stream that is open now.
  bool UsesItsStream() const;

  // What a handshake uses now, by this service's own clock; null before the first swap.
  struct Swapped {
    std::shared_ptr<const tls::InForce> contexts;
    ca::Revision made_at = 0;  // of its rules
    uint64_t epoch() const { return contexts->decoded.trust_epoch; }
  };
  const std::optional<Swapped>& in_force() const { return in_force_; }
  // What it told its agent last that it enforces; null: nothing in this life.
  const std::shared_ptr<const tls::InForce>& reported() const { return reported_; }
  absl::Time clock() const;
  x509::PathMemo* memo() const;  // of its node
  const SimNode& node() const { return node_; }

  // A connection that both ends allowed. It ends when either end wants it to.
  void Opened(tls::event::ConnectionOpened connection);
  bool Holds(tls::ConnectionId id) const { return live_.contains(id); }
  void Closed(tls::ConnectionId id);
  const std::map<tls::ConnectionId, tls::event::ConnectionOpened>& live() const { return live_; }

 private:
  void Step(tls::Event event);
  void Later(absl::Duration most, std::function<void()> work);
  void Do(const tls::action::OpenStream& action);
  void Do(const tls::action::Swap& action);
  void Do(const tls::action::Report& action);
  void Do(const tls::action::CloseConnection& action);
  void Do(const tls::action::RefusedMessage& action);
  void Do(const tls::action::NoIdentity& action);
  void Do(const tls::action::SetTimer& action);

  World& world_;
  SimNode& node_;
  const std::string selector_;
  uint64_t life_ = 0;
  std::unique_ptr<tls::SdkCore> core_;
  uint64_t stream_ = 0;
  uint64_t timer_ = 0;
  std::map<uint64_t, ca::Revision> made_at_;  // by generation
  ca::Revision receiving_ = 0;
  std::optional<Swapped> in_force_;
  std::shared_ptr<const tls::InForce> reported_;
  uint64_t most_in_force_ = 0;  // epoch, in this life
  std::map<tls::ConnectionId, tls::event::ConnectionOpened> live_;
};

}  // namespace linchpin::sim
