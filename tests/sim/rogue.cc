// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/rogue.h"

#include "ca/core/authorities.h"
#include "ca/core/profile.h"
#include "x509/certificate_builder.h"

namespace linchpin::sim {
namespace {

// Longer than the story: what is refused is not refused for its dates.
constexpr absl::Duration kLife = absl::Hours(12);

}  // namespace

Rogue::Rogue(World& world, SimCa& ca)
    : world_(world),
      ca_(ca),
      profile_{.trust_domain = ca.trust_domain(), .backdate = absl::Hours(4)},
      random_(world.random().Next()),
      root_(MakeRoot()) {}

Rogue::Authority Rogue::MakeRoot() {
  const auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  const auto spec = ca::RootSpec(profile_, key.public_key(), world_.now(), random_);
  return {*x509::SelfSign(spec, key), key};
}

Rogue::Authority Rogue::TrueRoot() {
  const auto authorities = ca::Authorities::FromRegistry(ca_.stored());
  const ca::Authority* root = authorities->RootOf(authorities->active());
  return {root->certificate, *ca_.keys().Open(root->key_name)};
}

const Rogue::Authority& Rogue::IssuerUnder(const Authority& root) {
  const auto known = issuers_.find(root.certificate.der());
  if (known != issuers_.end()) return known->second;
  const auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  const auto spec =
      ca::IssuerSpec(profile_, key.public_key(), root.certificate, world_.now(), random_);
  Authority made{*x509::SignCertificate(spec, key.public_key(), root.certificate, root.key), key};
  return issuers_.emplace(root.certificate.der(), std::move(made)).first->second;
}

trust::RawChain Rogue::Chain(const trust::SpiffeId& id, const Authority& root) {
  trust::RawChain& chain = chains_[{root.certificate.der(), id.ToString()}];
  if (!chain.empty()) return chain;
  const Authority& issuer = IssuerUnder(root);
  const auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  const auto spec =
      ca::LeafSpec(profile_, {id.ToString(), {}}, kLife, issuer.certificate, world_.now(), random_);
  const auto leaf = x509::SignCertificate(*spec, key.public_key(), issuer.certificate, issuer.key);
  chain = {leaf->der(), issuer.certificate.der(), root.certificate.der()};
  return chain;
}

}  // namespace linchpin::sim
