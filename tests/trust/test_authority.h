// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A root, an active and a backup issuer, and leaves of them, made in memory; and pin sets over
// them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "trust/judge.h"
#include "trust/mtls_context.h"
#include "trust/pin_set.h"
#include "trust/trust_state.h"
#include "x509/certificate.h"
#include "x509/certificate_builder.h"
#include "x509/key.h"

namespace linchpin::test {

inline const absl::Time kNow = absl::FromUnixSeconds(1'900'000'000);

struct Certified {
  x509::Certificate certificate;
  x509::PrivateKey key;
  x509::SpkiPin pin() const { return key.public_key().pin(); }
};

x509::Certificate TwinOf(const Certified& issuer);

// A key that is made once a name and then kept, so that tests stay quick.
x509::PrivateKey KeyNamed(const std::string& name);

class TestAuthority {
 public:
  // All keys are of `name`, so that two authorities of one name are the same keys.
  explicit TestAuthority(const std::string& trust_domain = "example.org",
                         const std::string& name = "authority");

  const trust::TrustDomain& trust_domain() const { return trust_domain_; }
  const Certified& root() const { return root_; }
  const Certified& active() const { return active_; }
  const Certified& backup() const { return backup_; }

  Certified MakeIssuer(const std::string& name) const;
  // An X509-SVID of `path`, of the active issuer or another, valid from an hour before kNow for
  // two.
  Certified Leaf(const std::string& path) const { return Leaf(path, active_); }
  Certified Leaf(const std::string& path, const Certified& issuer,
                 const std::string& key = "") const;
  trust::SpiffeId Id(const std::string& path) const;

  // Set 0 over the root and both issuers.
  trust::TrustStateParts StateParts() const;
  std::shared_ptr<const trust::TrustState> State() const;
  // What a CA would send: root, both issuers, both declared.
  trust::v1::TrustState Message(uint64_t epoch) const;
  // A valid enforced set: active and backup, signed by nobody yet.
  trust::v1::PinSet PinSetMessage(uint64_t version, const std::vector<std::string>& signers,
                                  uint32_t threshold) const;

 private:
  trust::TrustDomain trust_domain_;
  Certified root_;
  Certified active_;
  Certified backup_;
};

// `names` are those of the signers' keys (KeyNamed).
trust::v1::Signers SignersOf(const std::vector<std::string>& names, uint32_t threshold);
trust::v1::SignedPinSet Sign(const trust::v1::PinSet& set, const std::vector<std::string>& names);

std::vector<std::string> Ders(const x509::Chain& chain);
// A context of `self` (or without a certificate) under these trust states.
std::shared_ptr<const trust::MtlsContext> ContextOf(
    const std::vector<std::shared_ptr<const trust::TrustState>>& trust,
    const std::vector<trust::v1::PeerRule>& rules, const std::string& self_path,
    const TestAuthority& authority);
trust::v1::PeerRule Rule(const std::string& from, const std::string& to);  // both halves

}  // namespace linchpin::test
