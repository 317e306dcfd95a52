// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Who makes issuers of his own: under a root of his own, and under the CA's, whose key he has.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "tests/sim/sim_ca.h"
#include "tests/sim/world.h"
#include "trust/judge.h"
#include "x509/certificate.h"
#include "x509/key.h"

namespace linchpin::sim {

class Rogue {
 public:
  Rogue(World& world, SimCa& ca);

  // A chain that says that it is this one, by an issuer that no pin set names.
  trust::RawChain UnderTheTrueRoot(const trust::SpiffeId& id) { return Chain(id, TrueRoot()); }
  trust::RawChain UnderHisOwn(const trust::SpiffeId& id) { return Chain(id, root_); }

  struct Authority {
    x509::Certificate certificate;
    x509::PrivateKey key;
  };
  const Authority& root() const { return root_; }
  const Authority& IssuerUnder(const Authority& root);
  Authority TrueRoot();  // the CA's active one

 private:
  Authority MakeRoot();
  trust::RawChain Chain(const trust::SpiffeId& id, const Authority& root);

  World& world_;
  SimCa& ca_;
  ca::Profile profile_;
  test::SeededRandom random_;
  const Authority root_;
  std::map<std::string, Authority> issuers_;                               // by the root's DER
  std::map<std::pair<std::string, std::string>, trust::RawChain> chains_;  // by root and ID
};

}  // namespace linchpin::sim
