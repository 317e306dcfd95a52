// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/certified.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "trust/text.h"
#include "x509/digest.h"

namespace linchpin::agent {
namespace {

// Judges with `trust` as somebody who is allowed to talk to `id` would.
absl::StatusOr<trust::Verdict> JudgeOwn(const std::vector<std::string>& chain,
                                        const trust::SpiffeId& id,
                                        const std::shared_ptr<const trust::TrustState>& trust,
                                        absl::Time now) {
  trust::MtlsContextParts parts;
  parts.trust.emplace(trust->trust_domain(), trust);
  trust::Expect expect = trust::Expect::Node();
  if (!id.IsNode()) {
    trust::v1::PeerRule rule;
    rule.set_from(id.ToString());
    rule.set_to(id.ToString());
    rule.set_outbound(true);
    ASSIGN_OR_RETURN(parts.policy, trust::PeerPolicy::ForIdentity(id, {rule}));
    expect = trust::Expect::Id(id);
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<const trust::MtlsContext> context,
                   trust::MtlsContext::Make(std::move(parts)));
  return trust::Judge(chain, *context, trust::Direction::kOutbound, expect, now, nullptr);
}

absl::Time ExpiryOf(const x509::Chain& chain) {
  absl::Time soonest = absl::InfiniteFuture();
  for (const x509::Certificate& certificate : chain) {
    soonest = std::min(soonest, certificate.fields().not_after);
  }
  return soonest;
}

std::vector<std::shared_ptr<const std::string>> Shared(absl::Span<const std::string> ders,
                                                       const Certified* like) {
  std::vector<std::shared_ptr<const std::string>> shared;
  for (size_t i = 0; i < ders.size(); ++i) {
    const bool known = like != nullptr && i < like->chain.size() && *like->chain[i] == ders[i];
    shared.push_back(known ? like->chain[i] : std::make_shared<const std::string>(ders[i]));
  }
  return shared;
}

}  // namespace

std::vector<std::string> Certified::Ders() const {
  std::vector<std::string> ders;
  for (const auto& der : chain) ders.push_back(*der);
  return ders;
}

CertifiedPtr MakeCertified(const x509::PrivateKey& key, const x509::Chain& chain,
                           absl::Time received_at, absl::Time renew_at, const Certified* like) {
  std::vector<std::string> ders;
  for (const x509::Certificate& certificate : chain) ders.push_back(certificate.der());
  return std::make_shared<const Certified>(Certified{.key = key.ToPkcs8(),
                                                     .chain = Shared(ders, like),
                                                     .expires_at = ExpiryOf(chain),
                                                     .renew_at = renew_at,
                                                     .received_at = received_at});
}

absl::Time DrawRenewal(const x509::Certificate& leaf, absl::Time now, double fraction) {
  const absl::Time from = std::max(now, leaf.fields().not_before);
  const absl::Duration half = (leaf.fields().not_after - from) / 2;
  return from + half * (0.9 + 0.2 * fraction);
}

absl::Time RenewAt(const Certified& certified, const trust::v1::TrustState& trust) {
  absl::Time at = certified.renew_at;
  for (const trust::v1::Replacement& replacement : trust.replacements()) {
    if (certified.chain.size() < 2 || *certified.chain[1] != replacement.issuer()) continue;
    const absl::Time from = absl::FromUnixSeconds(replacement.from());
    // Or one whose CA goes on as before would be renewed for ever.
    if (certified.received_at >= from) continue;
    const std::string drawn = x509::Sha256(*certified.chain[0]);
    const double fraction =
        (static_cast<unsigned char>(drawn[0]) * 256 + static_cast<unsigned char>(drawn[1])) /
        65536.0;
    const absl::Duration window = absl::FromUnixSeconds(replacement.until()) - from;
    at = std::min(at, from + std::max(window, absl::ZeroDuration()) * fraction);
  }
  return at;
}

absl::StatusOr<x509::Chain> CheckIssued(const Wanted& wanted,
                                        const std::vector<std::string>& chain) {
  const std::string id = wanted.id.ToString();
  if (chain.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("the certificate for ", id, " is missing"));
  }
  if (chain.size() > trust::kMaxChainCertificates) {
    return absl::InvalidArgumentError(absl::StrCat("the chain for ", id, " has ", chain.size(),
                                                   " certificates, at most ",
                                                   trust::kMaxChainCertificates, " are allowed"));
  }
  absl::StatusOr<x509::Chain> parsed = x509::ParseDerChain(chain);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the certificate for ", id, ": ", parsed.status().message()));
  }
  const x509::PublicKey& certified = parsed->front().public_key();
  if (!(certified == wanted.key.public_key())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the certificate for ", id, " certifies the key ", certified.pin().ToString(),
                     ", expected ", wanted.key.public_key().pin().ToString()));
  }
  const std::vector<std::string>& uris = parsed->front().fields().uri_sans;
  if (uris.size() != 1 || uris[0] != id) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the certificate for ", id, " names ",
        uris.size() == 1 ? trust::Quoted(uris[0]) : absl::StrCat(uris.size(), " URIs")));
  }
  ASSIGN_OR_RETURN(const trust::Verdict verdict,
                   JudgeOwn(chain, wanted.id, wanted.trust, wanted.now));
  if (!verdict.allowed) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the certificate for ", id, " does not pass this node's own trust: ", verdict.ToString()));
  }
  return parsed;
}

bool StillPasses(const Certified& certified, const trust::SpiffeId& id,
                 const std::shared_ptr<const trust::TrustState>& trust, absl::Time now) {
  const absl::StatusOr<trust::Verdict> verdict = JudgeOwn(certified.Ders(), id, trust, now);
  return verdict.ok() && verdict->allowed;
}

state::v1::KeyedCertificate Encode(const std::string& identity_id, const Certified& certified) {
  state::v1::KeyedCertificate message;
  message.set_identity_id(identity_id);
  message.set_private_key(std::string(certified.key.Reveal()));
  for (const auto& der : certified.chain) message.add_chain(*der);
  message.set_renew_at_ms(absl::ToUnixMillis(certified.renew_at));
  message.set_expires_at(absl::ToUnixSeconds(certified.expires_at));
  message.set_received_at_ms(absl::ToUnixMillis(certified.received_at));
  return message;
}

absl::StatusOr<CertifiedPtr> Decode(const state::v1::KeyedCertificate& message,
                                    const Certified* like) {
  if (message.chain().empty() || message.private_key().empty()) {
    return absl::DataLossError(absl::StrCat("the sealed certificate of identity ",
                                            trust::Quoted(message.identity_id()),
                                            " has no key or no chain"));
  }
  const std::vector<std::string> ders(message.chain().begin(), message.chain().end());
  absl::Time expires_at = absl::FromUnixSeconds(message.expires_at());
  if (message.expires_at() == 0) {
    ASSIGN_OR_RETURN(const x509::Chain chain, x509::ParseDerChain(ders));
    expires_at = ExpiryOf(chain);
  }
  return std::make_shared<const Certified>(
      Certified{.key = x509::SecretBytes(message.private_key()),
                .chain = Shared(ders, like),
                .expires_at = expires_at,
                .renew_at = absl::FromUnixMillis(message.renew_at_ms()),
                .received_at = absl::FromUnixMillis(message.received_at_ms())});
}

}  // namespace linchpin::agent
