// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The operator in the simulation: changes one thing after another and remembers what was answered.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/pin_signers.h"
#include "tests/sim/sim_ca.h"
#include "tests/sim/world.h"

namespace linchpin::sim {

class Operator {
 public:
  Operator(World& world, SimCa& ca, PinSigners& signers, std::vector<std::string> services);

  static ca::Asker Root() { return {.on_socket = true, .name = "unix:root", .from = "simulation"}; }

  std::string SpiffeId(const std::string& service) const;
  // A join token for `node`; nothing if the CA did not answer.
  void MakeToken(const std::string& node, std::function<void(const std::string&)> then);
  // One change; the next waits for its answer or for the CA's death.
  void Act();
  void Register(const std::string& service);
  // Only this node may issue what a service is registered with; otherwise any may.
  using NodeOf = std::function<std::string(const std::string& service)>;
  void set_node_of(NodeOf node_of) { node_of_ = std::move(node_of); }
  void Allow(const History::Pair& pair);
  void PublishPins(bool new_board = false);
  // Says that what nodes were told meanwhile does not count; `done` once the CA has answered.
  void DeclareRestored(bool take_renewed_nodes, std::function<void()> done);
  void PlayRelax();
  void PublishFreshness();
  void Revoke();
  // `key` becomes `then` if the CA says OK, and is uncertain until it has answered.
  enum class Known { kPresent, kAbsent, kUncertain };
  void Ask(const std::string& key, Known then, ca::AdminRequest request,
           std::function<void(const SimCa::Message&)> answered = nullptr);
  void CaDied();
  bool busy() const { return busy_; }
  // Whatever was answered with OK is in the store still.
  void CheckKept() const;
  // As last answered; nothing while that is uncertain.
  std::optional<bool> IsRegistered(const std::string& service) const;

  using KnownByKey = std::map<std::string, Known>;
  struct Memory {
    KnownByKey known;
    std::map<std::string, std::string> identity_ids;
  };
  // What was answered by the time of a copy of the store.
  Memory Remember() const { return {known_, identity_ids_}; }
  void Recall(const Memory& memory);

 private:
  void Unregister(const std::string& service);
  void Forbid(const History::Pair& pair);
  uint64_t PublishedVersion() const;
  History::Pair AnyPair();

  World& world_;
  SimCa& ca_;
  const std::vector<std::string> services_;
  PinSigners& signers_;
  NodeOf node_of_;
  bool busy_ = false;
  uint64_t asked_ = 0;
  uint64_t revoked_ = 0;
  uint64_t documents_ = 0;
  KnownByKey known_;  // "identity svc1", "rule a b", "pins 3", "rotation 2 4"
  std::map<std::string, std::string> identity_ids_;  // by service
};

}  // namespace linchpin::sim
