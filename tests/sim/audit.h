// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Looks at the world from outside and says when a promise is broken.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/evil_ca.h"
#include "tests/sim/operator.h"
#include "tests/sim/rogue.h"
#include "tests/sim/sim_ca.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/world.h"

namespace linchpin::sim {

class Audit {
 public:
  Audit(World& world, SimCa& ca, const EvilCa& evil)
      : world_(world), ca_(ca), evil_(evil), rogue_(world, ca) {}

  // A handshake as both ends would judge it now. A pair allowed at every state between its two
  // ends' must pass, one forbidden at each must not; a live connection comes of it if it passed.
  void Handshake(SimService& caller, SimService& callee);
  // What an issuer signed that no set names passes nobody whose pins are not softened rightly.
  void Impersonate(SimService& judge, const SimService& impersonated);
  // The end of a connection, from either side.
  void EndConnection(tls::ConnectionId id);
  // Complete coverage means what it says.
  void CheckCoverage(const std::vector<std::unique_ptr<SimNode>>& nodes);
  // So does that of the policy: each service has said that it enforces the rules of now.
  void CheckPolicy(const std::vector<std::unique_ptr<SimNode>>& nodes);
  // What the CA says of a rotation is so: nobody lacks what it signs with, nobody uses what it
  // dropped.
  void CheckRotation(const std::vector<std::unique_ptr<SimNode>>& nodes,
                     const ca::v1::Rotation& rotation);
  // Who does not have the trust epoch of now in force, or the policy, although he could; empty:
  // nobody.
  std::string WhyNotCovered(bool policy);
  // Nobody lies any more, and everybody has heard it: from now on no lie excuses anything.
  void set_settled() { settled_ = true; }
  // Nothing fails any more and time has passed: everybody has what he should.
  void CheckSettled(const std::vector<std::unique_ptr<SimNode>>& nodes, const Operator& oper);

  size_t passed() const { return passed_; }
  size_t refused() const { return refused_; }
  size_t softened() const { return softened_; }  // that let an issuer pass which is not pinned

 private:
  // Nobody who counts is behind this epoch; `why` says what it was taken for.
  void CheckHeld(const std::vector<std::unique_ptr<SimNode>>& nodes, uint64_t epoch,
                 const std::string& why, bool of_known = false);
  bool WasDenied(const trust::SpiffeId& id, const trust::Verdict& verdict) const;
  bool IsRightlySoftened(const SimService& service) const;
  void CheckSettledService(const SimService& service, const Operator& oper);

  World& world_;
  SimCa& ca_;
  const EvilCa& evil_;
  Rogue rogue_;
  std::map<tls::ConnectionId, std::pair<SimService*, SimService*>> connections_;
  tls::ConnectionId last_connection_ = 0;
  size_t passed_ = 0;
  size_t refused_ = 0;
  size_t softened_ = 0;
  bool settled_ = false;
};

}  // namespace linchpin::sim
