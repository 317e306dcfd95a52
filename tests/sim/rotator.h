// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The operator who rotates: step by step as the CA lets him, now and then back again; and who makes
// the backup issuer take over, whatever is under way.
#pragma once

#include <functional>
#include <string>

#include "tests/sim/operator.h"
#include "tests/sim/sim_ca.h"
#include "tests/sim/world.h"

namespace linchpin::sim {

class Rotator {
 public:
  // `reached` is told of each step at the moment at which the CA says that it is done.
  using Reached = std::function<void(const ca::v1::Rotation&)>;
  Rotator(World& world, SimCa& ca, Operator& oper, Reached reached)
      : world_(world), ca_(ca), operator_(oper), reached_(std::move(reached)) {}

  // The next step, if the CA is up and the operator has nothing else under way.
  void Act();
  // Whether nobody lives of whom the store knows nothing: then he says so.
  void set_knows_all(std::function<bool()> knows_all) { knows_all_ = std::move(knows_all); }
  size_t done() const { return done_; }

 private:
  using Action = ca::v1::RotateRequest::Action;
  void Continue(const ca::v1::Rotation& rotation);
  void Prepare(const ca::v1::Rotation& last);
  void FailOver(const ca::v1::Rotation& last);
  void Step(const ca::v1::Rotation& rotation, Action action);
  void Ask(const std::string& key, ca::AdminRequest request);

  World& world_;
  SimCa& ca_;
  Operator& operator_;
  const Reached reached_;
  std::function<bool()> knows_all_;
  size_t done_ = 0;
};

}  // namespace linchpin::sim
