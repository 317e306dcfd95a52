// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Contexts as the core would deliver them, for what renders them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "linchpin/agent/v1/mtls_context.pb.h"
#include "tests/trust/test_authority.h"
#include "trust/trust_codec.h"

namespace linchpin::test {

// Signatures are random, so that a leaf is made once.
inline const Certified& LeafOf(const TestAuthority& authority, const std::string& path,
                               const std::string& key) {
  static std::map<std::string, Certified>& made = *new std::map<std::string, Certified>();
  const std::string name = authority.trust_domain().name() + path + " " + key;
  const auto it = made.find(name);
  if (it != made.end()) return it->second;
  return made.emplace(name, authority.Leaf(path, authority.active(), key)).first->second;
}

inline const x509::Certificate& TwinNamed(const TestAuthority& of) {
  static std::map<std::string, x509::Certificate>& made =
      *new std::map<std::string, x509::Certificate>();
  const std::string name = of.trust_domain().name();
  const auto it = made.find(name);
  if (it != made.end()) return it->second;
  return made.emplace(name, TwinOf(of.active())).first->second;
}

struct Contexts {
  explicit Contexts(const TestAuthority& made_by) : authority(made_by) {
    Domain(authority);
    message.set_trust_epoch(1);
    message.set_trust_digest("digest 1");
  }

  Contexts& Domain(const TestAuthority& of) {
    agent::v1::TrustDomainContext& domain = *message.add_trust_domains();
    domain = trust::EncodeTrustState(*of.State());
    domain.clear_twins();
    domain.add_twins(TwinNamed(of).der());
    return *this;
  }
  // With an inbound rule for each of `from` and an outbound one for each of `to`.
  Contexts& Identity(const std::string& path, const std::vector<std::string>& from = {},
                     const std::vector<std::string>& to = {}, const std::string& key = "key") {
    const Certified& leaf = LeafOf(authority, path, key);
    agent::v1::Identity& one = *message.add_identities();
    one.set_spiffe_id(authority.Id(path).ToString());
    one.add_chain(leaf.certificate.der());
    one.add_chain(authority.active().certificate.der());
    one.set_private_key(std::string(leaf.key.ToPkcs8().Reveal()));
    for (const std::string& peer : from) {
      trust::v1::PeerRule& rule = *one.add_rules();
      rule.set_from(authority.Id(peer).ToString());
      rule.set_to(one.spiffe_id());
      rule.set_inbound(true);
    }
    for (const std::string& peer : to) {
      trust::v1::PeerRule& rule = *one.add_rules();
      rule.set_from(one.spiffe_id());
      rule.set_to(authority.Id(peer).ToString());
      rule.set_outbound(true);
    }
    return *this;
  }
  Contexts& Epoch(uint64_t epoch) {
    message.set_trust_epoch(epoch);
    message.set_trust_digest("digest " + std::to_string(epoch));
    return *this;
  }
  std::shared_ptr<const agent::v1::MtlsContexts> Share() const {
    return std::make_shared<const agent::v1::MtlsContexts>(message);
  }

  const TestAuthority& authority;
  agent::v1::MtlsContexts message;
};

}  // namespace linchpin::test
