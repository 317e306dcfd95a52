// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The CA's disk is lost, its store put back from a copy that is some minutes old, and an operator
// says so after a while. Nodes that renewed or joined since are taken by what they show, or are
// given tokens, one after another.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "tests/sim/operator.h"
#include "tests/sim/sim_ca.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/world.h"

namespace linchpin::sim {

class Disaster {
 public:
  using Nodes = std::vector<std::unique_ptr<SimNode>>;
  Disaster(World& world, SimCa& ca, Operator& oper, const Nodes& nodes)
      : world_(world), ca_(ca), operator_(oper), nodes_(nodes) {}

  void MakeCopy();
  // Puts an old copy back; the CA is down then. False: there is none, and nothing was done.
  bool Strike(bool take_renewed_nodes);
  // It was put back, and nobody has said so.
  bool untold() const { return untold_; }
  // Nodes may live of which the store knows nothing.
  bool knows_all() const { return world_.now() >= unknown_until_; }
  size_t count() const { return count_; }
  // Somebody waits for a token.
  bool needs_time() const;
  // An operator says that the store was put back, and not that nodes are to be taken; `done` once
  // the CA has answered. Nothing if he has no time.
  void DeclareAgain(std::function<void()> done);

 private:
  void Declare(bool take_renewed_nodes);
  void HandTokens();
  bool NeedsToken(const SimNode& node) const;

  World& world_;
  SimCa& ca_;
  Operator& operator_;
  const Nodes& nodes_;
  struct Copy {
    absl::Time made_at;
    SimCa::Copy store;
    Operator::Memory answered;
  };
  std::deque<Copy> copies_;  // the oldest first
  size_t count_ = 0;
  bool untold_ = false;
  bool hands_tokens_ = false;
  absl::Time takes_until_ = absl::InfinitePast();
  absl::Time unknown_until_ = absl::InfinitePast();
};

}  // namespace linchpin::sim
