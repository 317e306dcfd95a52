// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Who signs pin sets in the simulation, apart from the CA: boards of three, two of whom sign. They
// remember all that they signed, which is the yardstick for what nodes may hold.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "linchpin/trust/v1/trust.pb.h"
#include "tests/sim/sim_ca.h"
#include "tests/sim/world.h"
#include "trust/pin_set_draft.h"
#include "x509/key.h"

namespace linchpin::sim {

class PinSigners {
 public:
  explicit PinSigners(World& world) : world_(world) {}

  // The set that follows the one in force, drafted of what the CA says of its authorities. Where
  // the board changes, two of the old one and two of the new one sign. Some sets last for minutes,
  // some name a key for freshness statements, each says something of its expiry.
  // None: it cannot be drafted, since there is no backup.
  std::optional<trust::v1::SignedPinSet> Next(SimCa& ca, bool new_board);
  // From now on each set lasts.
  void set_calm() { calm_ = true; }
  // Of the set in force; none if there is none, or if it names no key for statements.
  std::optional<trust::v1::SignedRelax> Relax(const SimCa& ca);
  std::optional<trust::v1::SignedFreshness> Fresh(const SimCa& ca);

  // One of the board in force lends his key to somebody: that is below the threshold.
  trust::v1::Signature OneSignature(const std::string& payload, const SimCa& ca) const;

  static std::optional<trust::v1::PinSet> InForce(const SimCa& ca);
  // Has the set in force an expiry within a day?
  static bool RunsOut(const SimCa& ca);

  // A set that was signed pins just these keys, by its version and expiry.
  bool Vouch(const trust::v1::EffectivePins& pins) const;
  const std::vector<trust::v1::Relax>& RelaxesOf(uint64_t version) const;
  const std::vector<trust::v1::Freshness>& statements() const { return statements_; }

 private:
  using Board = std::vector<x509::PrivateKey>;
  const Board& NewBoard(trust::v1::Signers* signers);
  const Board& BoardOf(const trust::v1::PinSet& set) const;
  void Sign(const Board& board, trust::v1::SignedPinSet* set) const;
  void ChooseTerms(const std::optional<trust::v1::PinSet>& before, trust::DraftChanges* changes);

  World& world_;
  bool calm_ = false;
  std::map<std::string, Board> boards_;                      // by what a set says of them
  std::map<std::string, x509::PrivateKey> freshness_keys_;   // by SubjectPublicKeyInfo
  std::map<uint64_t, std::vector<trust::v1::PinSet>> sets_;  // by version: some were never in force
  std::map<uint64_t, std::vector<trust::v1::Relax>> relaxes_;  // by version
  std::vector<trust::v1::Freshness> statements_;
};

}  // namespace linchpin::sim
