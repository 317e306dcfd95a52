// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/trust_codec.h"

#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/text.h"

namespace linchpin::trust {
namespace {

constexpr int kMaxIdentities = 1024;
constexpr int kMaxTrustDomains = 256;
constexpr int kMaxChain = 8;
constexpr int kMaxCertificates = 256;
constexpr int64_t kMaxSkewSeconds = 3600;

absl::Status Within(absl::string_view what, int count, int most) {
  if (count <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("there are ", count, " ", what, ", at most ", most, " are allowed"));
}

absl::StatusOr<x509::Chain> DecodeCertificates(
    absl::string_view what, const google::protobuf::RepeatedPtrField<std::string>& ders, int most) {
  RETURN_IF_ERROR(Within(what, ders.size(), most));
  absl::StatusOr<x509::Chain> chain =
      x509::ParseDerChain(std::vector<std::string>(ders.begin(), ders.end()));
  if (!chain.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", chain.status().message()));
  }
  return chain;
}

absl::Status Named(absl::string_view what, absl::string_view name, const absl::Status& status) {
  return absl::InvalidArgumentError(absl::StrCat(what, " ", Quoted(name), ": ", status.message()));
}

struct DecodedIdentity {
  SpiffeId id;
  MtlsContextParts parts;
};

absl::StatusOr<DecodedIdentity> DecodeIdentity(const agent::v1::Identity& message,
                                               const TrustStates& trust) {
  ASSIGN_OR_RETURN(SpiffeId id, SpiffeId::Parse(message.spiffe_id()));
  MtlsContextParts parts;
  ASSIGN_OR_RETURN(parts.chain, DecodeCertificates("certificates", message.chain(), kMaxChain));
  if (parts.chain.empty()) return absl::InvalidArgumentError("it has no certificate");
  ASSIGN_OR_RETURN(parts.key,
                   x509::PrivateKey::FromPkcs8(x509::SecretBytes(message.private_key())));
  ASSIGN_OR_RETURN(parts.policy,
                   PeerPolicy::ForIdentity(id, {message.rules().begin(), message.rules().end()}));
  parts.trust = trust;
  return DecodedIdentity{std::move(id), std::move(parts)};
}

}  // namespace

agent::v1::TrustDomainContext EncodeTrustState(const TrustState& state) {
  agent::v1::TrustDomainContext message;
  message.set_trust_domain(state.trust_domain().name());
  for (const x509::Certificate& anchor : state.anchors()) message.add_anchors(anchor.der());
  for (const x509::Certificate& issuer : state.issuers()) message.add_issuers(issuer.der());
  *message.mutable_pins() = state.pins();
  for (const v1::Revocation& entry : state.revocations().entries()) {
    *message.add_revocations() = entry;
  }
  message.set_epoch(state.epoch());
  message.set_skew_seconds(absl::ToInt64Seconds(state.skew()));
  return message;
}

absl::StatusOr<std::shared_ptr<const TrustState>> DecodeTrustState(
    const agent::v1::TrustDomainContext& message) {
  ASSIGN_OR_RETURN(TrustDomain trust_domain, TrustDomain::FromName(message.trust_domain()));
  TrustStateParts parts{.trust_domain = std::move(trust_domain), .epoch = message.epoch()};
  ASSIGN_OR_RETURN(parts.anchors,
                   DecodeCertificates("anchors", message.anchors(), kMaxCertificates));
  ASSIGN_OR_RETURN(parts.issuers,
                   DecodeCertificates("issuers", message.issuers(), kMaxCertificates));
  parts.pins = message.pins();
  ASSIGN_OR_RETURN(parts.revocations, Revocations::FromMessages({message.revocations().begin(),
                                                                 message.revocations().end()}));
  if (message.skew_seconds() < 0 || message.skew_seconds() > kMaxSkewSeconds) {
    return absl::InvalidArgumentError(absl::StrCat("a skew allowance of ", message.skew_seconds(),
                                                   " s; 0 to ", kMaxSkewSeconds, " are allowed"));
  }
  parts.skew = absl::Seconds(message.skew_seconds());
  return TrustState::Make(std::move(parts));
}

absl::StatusOr<DecodedContexts> DecodeContexts(const agent::v1::MtlsContexts& message) {
  RETURN_IF_ERROR(Within("identities", message.identities_size(), kMaxIdentities));
  RETURN_IF_ERROR(Within("trust domains", message.trust_domains_size(), kMaxTrustDomains));
  DecodedContexts decoded;
  decoded.trust_epoch = message.trust_epoch();
  for (const agent::v1::TrustDomainContext& entry : message.trust_domains()) {
    absl::StatusOr<std::shared_ptr<const TrustState>> state = DecodeTrustState(entry);
    if (!state.ok()) return Named("trust domain", entry.trust_domain(), state.status());
    const TrustDomain trust_domain = (*state)->trust_domain();
    if (!decoded.trust.emplace(trust_domain, *std::move(state)).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("trust domain ", trust_domain.name(), " is there twice"));
    }
  }
  std::map<SpiffeId, PeerPolicy> policies;
  for (const agent::v1::Identity& entry : message.identities()) {
    absl::StatusOr<DecodedIdentity> identity = DecodeIdentity(entry, decoded.trust);
    if (!identity.ok()) return Named("identity", entry.spiffe_id(), identity.status());
    if (!policies.emplace(identity->id, identity->parts.policy).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("identity ", identity->id.ToString(), " is there twice"));
    }
    absl::StatusOr<std::shared_ptr<const MtlsContext>> context =
        MtlsContext::Make(std::move(identity->parts));
    if (!context.ok()) return Named("identity", entry.spiffe_id(), context.status());
    if ((*context)->id() != identity->id) {
      return absl::InvalidArgumentError(absl::StrCat("identity ", identity->id.ToString(),
                                                     ": its leaf certifies ",
                                                     (*context)->id()->ToString()));
    }
    decoded.contexts.push_back(*std::move(context));
  }
  decoded.trust_digest = TrustDigest(decoded.trust, policies);
  return decoded;
}

agent::v1::Identity EncodeIdentity(const MtlsContext& context, const std::string& hint) {
  agent::v1::Identity message;
  message.set_hint(hint);
  if (!context.id().has_value()) return message;
  message.set_spiffe_id(context.id()->ToString());
  for (const x509::Certificate& certificate : context.chain()) {
    message.add_chain(certificate.der());
  }
  message.set_private_key(std::string(context.key()->ToPkcs8().Reveal()));
  message.set_expires_at(absl::ToUnixSeconds(context.expires_at()));
  message.set_context_digest(context.context_digest());
  for (v1::PeerRule& rule : context.policy().rules(*context.id())) {
    *message.add_rules() = std::move(rule);
  }
  return message;
}

void WipeKeys(agent::v1::MtlsContexts* message) {
  for (agent::v1::Identity& identity : *message->mutable_identities()) {
    x509::WipeString(identity.mutable_private_key());
  }
}

}  // namespace linchpin::trust
