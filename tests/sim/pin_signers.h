// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Who signs pin sets in the simulation, apart from the CA: boards of three, two of whom sign.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "linchpin/trust/v1/trust.pb.h"
#include "tests/sim/sim_ca.h"
#include "x509/key.h"

namespace linchpin::sim {

class PinSigners {
 public:
  // The set that follows the one in force, drafted of what the CA says of its authorities. Where
  // the board changes, two of the old one and two of the new one sign.
  // None: it cannot be drafted, since there is no backup.
  std::optional<trust::v1::SignedPinSet> Next(SimCa& ca, bool new_board);

  static std::optional<trust::v1::PinSet> InForce(const SimCa& ca);

 private:
  using Board = std::vector<x509::PrivateKey>;
  const Board& NewBoard(trust::v1::Signers* signers);
  void Sign(const Board& board, trust::v1::SignedPinSet* set) const;

  std::map<std::string, Board> boards_;  // by what a set says of them
};

}  // namespace linchpin::sim
