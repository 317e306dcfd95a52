// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The mTLS context: leaf, key, trust states and peer policy of one identity as one immutable value.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "trust/peer_policy.h"
#include "trust/spiffe_id.h"
#include "trust/trust_state.h"
#include "x509/certificate.h"
#include "x509/key.h"

namespace linchpin::trust {

using TrustStates = std::map<TrustDomain, std::shared_ptr<const TrustState>>;

struct MtlsContextParts {
  x509::Chain chain;  // leaf first, without the root; empty: judges but has no certificate
  std::optional<x509::PrivateKey> key;
  TrustStates trust;
  PeerPolicy policy;
};

class MtlsContext {
 public:
  // With a chain: the leaf must be a conforming X509-SVID whose key is `key`. INVALID_ARGUMENT.
  // Validity in time and path are not judged here.
  static absl::StatusOr<std::shared_ptr<const MtlsContext>> Make(MtlsContextParts parts);

  bool has_certificate() const { return !parts_.chain.empty(); }
  const std::optional<SpiffeId>& id() const { return id_; }
  const x509::Chain& chain() const { return parts_.chain; }
  const std::optional<x509::PrivateKey>& key() const { return parts_.key; }
  const TrustStates& trust() const { return parts_.trust; }
  const TrustState* TrustFor(const TrustDomain& trust_domain) const;  // null if none
  const PeerPolicy& policy() const { return parts_.policy; }
  absl::Time expires_at() const;

  // Over the path digests of all trust states: with the bytes that a peer sent, it says whether a
  // path was valid at a given time.
  const std::string& path_digest() const { return path_digest_; }
  const std::string& trust_digest() const { return trust_digest_; }      // all but leaf and key
  const std::string& context_digest() const { return context_digest_; }  // everything but the key

 private:
  explicit MtlsContext(MtlsContextParts parts) : parts_(std::move(parts)) {}
  MtlsContextParts parts_;
  std::optional<SpiffeId> id_;
  std::string path_digest_;
  std::string trust_digest_;
  std::string context_digest_;
};

// The digest of what a set of identities and trust states enforce: over the trust states and each
// identity's ID and rules. This is what consumers report and the agent compares.
std::string TrustDigest(const TrustStates& trust, const std::map<SpiffeId, PeerPolicy>& policies);

// The context digest of an identity whose own trust digest (its policy alone) and chain (DER) are
// known, as MtlsContext computes it.
std::string ContextDigest(absl::string_view trust_digest,
                          absl::Span<const absl::string_view> chain);

}  // namespace linchpin::trust
