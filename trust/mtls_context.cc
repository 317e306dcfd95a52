// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/mtls_context.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "trust/x509_svid.h"
#include "x509/digest.h"

namespace linchpin::trust {
namespace {

void AddHalf(const PeerPolicy& policy, Direction direction, x509::FieldHasher* hasher) {
  const std::vector<SpiffeId> peers = policy.Peers(direction);
  hasher->Add(peers.size());
  for (const SpiffeId& peer : peers) {
    hasher->Add(peer.ToString());
    hasher->Add(uint64_t{policy.Ask(direction, peer) == PolicyAnswer::kAudited});
  }
}

// `policies` is sorted by ID; the ID is empty for a context without a certificate.
std::string DigestOf(const TrustStates& trust,
                     const std::vector<std::pair<std::string, const PeerPolicy*>>& policies) {
  x509::FieldHasher hasher("linchpin trust digest v1");
  hasher.Add(trust.size());
  for (const auto& [trust_domain, state] : trust) hasher.Add(state->digest());
  hasher.Add(policies.size());
  for (const auto& [id, policy] : policies) {
    hasher.Add(id);
    AddHalf(*policy, Direction::kOutbound, &hasher);
    AddHalf(*policy, Direction::kInbound, &hasher);
  }
  return hasher.Finish();
}

std::string PathDigestOf(const TrustStates& trust) {
  x509::FieldHasher hasher("linchpin path digests v1");
  hasher.Add(trust.size());
  for (const auto& [trust_domain, state] : trust) hasher.Add(state->path_digest());
  return hasher.Finish();
}

absl::StatusOr<std::optional<SpiffeId>> CheckOwnLeaf(const MtlsContextParts& parts) {
  if (parts.chain.empty()) {
    if (parts.key.has_value()) {
      return absl::InvalidArgumentError("the context has a key but no certificate");
    }
    return std::optional<SpiffeId>();
  }
  const x509::Certificate& leaf = parts.chain.front();
  const LeafCheck check = CheckLeaf(leaf);
  if (!check.findings.empty()) {
    const Finding& finding = check.findings.front();
    return absl::InvalidArgumentError(absl::StrCat(
        "the context's leaf is no X509-SVID: ", ReasonName(finding.reason), ": ", finding.detail));
  }
  if (!parts.key.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the context of ", check.id->ToString(), " has a certificate but no key"));
  }
  if (!(parts.key->public_key() == leaf.public_key())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the context of ", check.id->ToString(), " has the key ",
                     parts.key->public_key().pin().ToString(), ", but its leaf certifies ",
                     leaf.public_key().pin().ToString()));
  }
  return check.id;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const MtlsContext>> MtlsContext::Make(MtlsContextParts parts) {
  absl::StatusOr<std::optional<SpiffeId>> id = CheckOwnLeaf(parts);
  if (!id.ok()) return id.status();
  for (const auto& [trust_domain, state] : parts.trust) {
    if (state == nullptr || state->trust_domain() != trust_domain) {
      return absl::InvalidArgumentError(
          absl::StrCat("the context's trust state under ", trust_domain.name(), " is ",
                       state == nullptr ? "missing" : state->trust_domain().name()));
    }
  }
  std::shared_ptr<MtlsContext> context(new MtlsContext(std::move(parts)));
  context->id_ = *std::move(id);
  context->path_digest_ = PathDigestOf(context->trust());
  const std::string name = context->id_ ? context->id_->ToString() : "";
  context->trust_digest_ = DigestOf(context->trust(), {{name, &context->policy()}});
  std::vector<absl::string_view> ders;
  for (const x509::Certificate& certificate : context->chain()) ders.push_back(certificate.der());
  context->context_digest_ = ContextDigest(context->trust_digest_, ders);
  return std::shared_ptr<const MtlsContext>(std::move(context));
}

const TrustState* MtlsContext::TrustFor(const TrustDomain& trust_domain) const {
  const auto it = parts_.trust.find(trust_domain);
  return it == parts_.trust.end() ? nullptr : it->second.get();
}

absl::Time MtlsContext::expires_at() const {
  if (parts_.chain.empty()) return absl::InfinitePast();
  absl::Time soonest = absl::InfiniteFuture();
  for (const x509::Certificate& certificate : parts_.chain) {
    soonest = std::min(soonest, certificate.fields().not_after);
  }
  return soonest;
}

std::string TrustDigest(const TrustStates& trust, const std::map<SpiffeId, PeerPolicy>& policies) {
  std::vector<std::pair<std::string, const PeerPolicy*>> sorted;
  for (const auto& [id, policy] : policies) sorted.emplace_back(id.ToString(), &policy);
  return DigestOf(trust, sorted);
}

std::string ContextDigest(absl::string_view trust_digest,
                          absl::Span<const absl::string_view> chain) {
  x509::FieldHasher hasher("linchpin context digest v1");
  hasher.Add(trust_digest).Add(chain.size());
  for (const absl::string_view der : chain) hasher.Add(x509::Sha256(der));
  return hasher.Finish();
}

}  // namespace linchpin::trust
