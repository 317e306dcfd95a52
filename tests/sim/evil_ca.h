// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Who takes the CA's place for a while and lies to the nodes that hold a signed pin set. He never
// has the key of a signer; what he has of the CA's own keys is said by Means.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "tests/sim/pin_signers.h"
#include "tests/sim/rogue.h"
#include "tests/sim/sim_ca.h"
#include "tests/sim/world.h"

namespace linchpin::sim {

class EvilCa final : public Liar {
 public:
  EvilCa(World& world, SimCa& ca, PinSigners& signers);

  enum class Means {
    kNone,       // a root and an issuer of his own
    kRootKey,    // the true root's key: an issuer of his own under it
    kIssuerKey,  // the whole CA: its process, and the key of the active issuer
  };
  void Begin(Means means);

  // Of Liar.
  trust::RawChain Shown(const trust::RawChain& true_chain) override;
  SimCa::Message Distort(const SimCa::Message& message) override;

  // Has he told anybody anything since he began last?
  bool was_heard() const { return lies_ > lies_before_; }
  // He said that this SPIFFE ID is revoked.
  bool Denied(const trust::SpiffeId& id) const { return denied_.contains(id.ToString()); }
  // The CA's epoch when he said that it is this one.
  uint64_t TrueEpoch(uint64_t said) const;
  size_t lies() const { return lies_; }

 private:
  void Distort(trust::v1::TrustState* trust);
  void DistortSets(google::protobuf::RepeatedPtrField<trust::v1::SignedPinSet>* sets);
  void Deny(trust::v1::TrustState* trust);
  int64_t Time(int64_t true_time);
  trust::v1::SignedPinSet ForgedSet();
  trust::v1::SignedRelax ForgedRelax();

  World& world_;
  SimCa& ca_;
  PinSigners& signers_;
  Rogue rogue_;
  const x509::PrivateKey own_key_;
  Means means_ = Means::kNone;
  std::set<std::string> denied_;              // SPIFFE IDs
  std::map<uint64_t, uint64_t> true_epochs_;  // by what he said
  size_t lies_ = 0;
  size_t lies_before_ = 0;
};

}  // namespace linchpin::sim
