// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A certificate that this node holds, and the checks that it passes before it replaces another.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "linchpin/state/v1/agent_state.pb.h"
#include "trust/judge.h"
#include "x509/certificate.h"
#include "x509/key.h"
#include "x509/secret_bytes.h"

namespace linchpin::agent {

// Immutable, shared. Key and chain stay encoded: they are passed on, and decoded they would take
// twenty times the room, and half a millisecond each when the agent starts.
struct Certified {
  x509::SecretBytes key;  // PKCS#8 DER
  std::vector<std::shared_ptr<const std::string>>
      chain;               // DER, leaf first, without the root; never
                           // empty; issuers are shared among many
  absl::Time expires_at;   // of the leaf or what certifies it, whichever is first
  absl::Time renew_at;     // drawn once, when the certificate came
  absl::Time received_at;  // by the CA's clock, as far as the node knows it

  std::vector<std::string> Ders() const;
};
using CertifiedPtr = std::shared_ptr<const Certified>;

// Of a chain that passed CheckIssued(). `like`, which may be null, is another certificate of this
// node: what certified both is kept once.
CertifiedPtr MakeCertified(const x509::PrivateKey& key, const x509::Chain& chain,
                           absl::Time received_at, absl::Time renew_at, const Certified* like);

// Half of the life that is left at `now`, within ±10 % by `fraction` in [0, 1). The life begins now
// or, if the leaf is not valid yet, at its NotBefore: what it was backdated by is no life.
absl::Time DrawRenewal(const x509::Certificate& leaf, absl::Time now, double fraction);

// When it is to be renewed: at its own instant or, if `trust` has what its issuer certified
// replaced, at one within that window, drawn by the leaf itself so that it is the same after a
// restart.
absl::Time RenewAt(const Certified& certified, const trust::v1::TrustState& trust);

// What a received certificate must be.
struct Wanted {
  const x509::PrivateKey& key;
  trust::SpiffeId id;
  const std::shared_ptr<const trust::TrustState>& trust;  // path, pins and revocations
  absl::Time now;
};
// INVALID_ARGUMENT or FAILED_PRECONDITION names the identity and what is wrong: another key,
// another ID, a path or pin that this node's own trust refuses, not valid now (with the time here).
absl::StatusOr<x509::Chain> CheckIssued(const Wanted& wanted,
                                        const std::vector<std::string>& chain);

// The leaf would still pass for somebody who trusts as this node does.
bool StillPasses(const Certified& certified, const trust::SpiffeId& id,
                 const std::shared_ptr<const trust::TrustState>& trust, absl::Time now);

state::v1::KeyedCertificate Encode(const std::string& identity_id, const Certified& certified);
// What was sealed was checked before, and is not looked into again. `like` as above.
absl::StatusOr<CertifiedPtr> Decode(const state::v1::KeyedCertificate& message,
                                    const Certified* like);

}  // namespace linchpin::agent
