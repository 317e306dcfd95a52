// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/deliver/envoy_secrets.h"

#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.pb.h"
#include "trust/spiffe_id.h"
#include "x509/digest.h"
#include "x509/pem.h"
#include "x509/secret_bytes.h"

namespace linchpin::agent {
namespace {

namespace tls = envoy::extensions::transport_sockets::tls::v3;

constexpr char kScheme[] = "spiffe://";
constexpr char kCertificate[] = "CERTIFICATE";
constexpr char kKey[] = "PRIVATE KEY";
constexpr char kValidator[] = "envoy.tls.cert_validator.spiffe";
constexpr char kOptOut[] = "disable_spiffe_cert_validation";
constexpr size_t kVersionBytes = 16;

std::string Version(x509::FieldHasher& hasher) {
  return absl::BytesToHexString(hasher.Finish().substr(0, kVersionBytes));
}

template <typename Ders>
std::string Pem(const Ders& ders) {
  std::string pem;
  for (const std::string& der : ders) x509::AppendPem(kCertificate, der, &pem);
  return pem;
}

void AddMatcher(const std::string& name, tls::CertificateValidationContext* to) {
  tls::SubjectAltNameMatcher& matcher = *to->add_match_typed_subject_alt_names();
  matcher.set_san_type(tls::SubjectAltNameMatcher::URI);
  matcher.mutable_matcher()->set_exact(name);
}

std::string DomainOf(absl::string_view id) {
  if (!absl::ConsumePrefix(&id, kScheme)) return "";
  return std::string(id.substr(0, id.find('/')));
}

}  // namespace

EnvoyStyle StyleOf(const envoy::config::core::v3::Node& node) {
  const auto& version = node.user_agent_build_version().version();
  EnvoyStyle style;
  style.spiffe_validator =
      version.major_number() > 1 || (version.major_number() == 1 && version.minor_number() >= 18);
  const auto& metadata = node.metadata().fields();
  const auto opt_out = metadata.find(kOptOut);
  if (opt_out != metadata.end() &&
      (opt_out->second.bool_value() ||
       absl::EqualsIgnoreCase(opt_out->second.string_value(), "true"))) {
    style.spiffe_validator = false;
  }
  return style;
}

EnvoySecrets::EnvoySecrets(std::shared_ptr<const v1::MtlsContexts> contexts, EnvoyStyle style,
                           EnvoyAnchors anchors)
    : contexts_(std::move(contexts)), style_(style), anchors_(anchors) {
  if (contexts_->identities_size() > 0) {
    own_domain_ = DomainOf(contexts_->identities(0).spiffe_id());
  }
}

std::vector<std::string> EnvoySecrets::Names() const {
  std::vector<std::string> names;
  for (const v1::Identity& identity : contexts_->identities()) {
    names.push_back(identity.spiffe_id());
  }
  for (const v1::TrustDomainContext& domain : contexts_->trust_domains()) {
    names.push_back(absl::StrCat(kScheme, domain.trust_domain()));
  }
  names.push_back(kInboundPeersSecret);
  names.push_back(kOutboundPeersSecret);
  return names;
}

const v1::Identity* EnvoySecrets::IdentityOf(absl::string_view name) const {
  for (const v1::Identity& identity : contexts_->identities()) {
    if (name != kDefaultSecret && name != identity.spiffe_id()) continue;
    return identity.chain_size() > 0 ? &identity : nullptr;
  }
  return nullptr;
}

const v1::TrustDomainContext* EnvoySecrets::TrustOf(absl::string_view trust_domain) const {
  for (const v1::TrustDomainContext& domain : contexts_->trust_domains()) {
    if (!trust_domain.empty() && domain.trust_domain() == trust_domain) return &domain;
  }
  return nullptr;
}

std::string EnvoySecrets::AnchorsOf(const v1::TrustDomainContext& domain,
                                    tls::CertificateValidationContext* to) const {
  const trust::Bundle bundle = trust::BundleOf(domain, anchors_.kind, anchors_.now);
  // A twin allows no CA beneath it, but Envoy's library does not ask an anchor for its path length.
  if (bundle.holds == trust::BundleKind::kPinned) to->mutable_max_verify_depth()->set_value(1);
  return Pem(bundle.certificates);
}

std::optional<EnvoySecret> EnvoySecrets::Bundle(
    const std::vector<const v1::TrustDomainContext*>& domains) const {
  EnvoySecret secret;
  tls::CertificateValidationContext& context = *secret.mutable_validation_context();
  if (!style_.spiffe_validator) {
    // Envoy's own validator cannot keep trust domains apart.
    if (domains.size() != 1) return std::nullopt;
    std::string anchors = AnchorsOf(*domains[0], &context);
    if (anchors.empty()) return std::nullopt;
    context.mutable_trusted_ca()->set_inline_bytes(std::move(anchors));
    return secret;
  }
  tls::SPIFFECertValidatorConfig config;
  for (const v1::TrustDomainContext* domain : domains) {
    std::string anchors = AnchorsOf(*domain, &context);
    if (anchors.empty()) continue;
    tls::SPIFFECertValidatorConfig::TrustDomain& one = *config.add_trust_domains();
    one.set_name(domain->trust_domain());
    one.mutable_trust_bundle()->set_inline_bytes(std::move(anchors));
  }
  if (config.trust_domains().empty()) return std::nullopt;
  context.mutable_custom_validator_config()->set_name(kValidator);
  context.mutable_custom_validator_config()->mutable_typed_config()->PackFrom(config);
  return secret;
}

std::vector<std::string> EnvoySecrets::AllowedPeers(trust::Direction direction,
                                                    const v1::TrustDomainContext& domain) const {
  const v1::Identity& self = contexts_->identities(0);
  const absl::StatusOr<trust::SpiffeId> id = trust::SpiffeId::Parse(self.spiffe_id());
  if (!id.ok()) return {};
  const absl::StatusOr<trust::PeerPolicy> policy =
      trust::PeerPolicy::ForIdentity(*id, {self.rules().begin(), self.rules().end()});
  if (!policy.ok()) return {};
  std::set<std::string> revoked;
  for (const trust::v1::Revocation& one : domain.revocations()) revoked.insert(one.spiffe_id());
  std::vector<std::string> peers;
  for (const trust::SpiffeId& peer : policy->Peers(direction)) {
    if (peer.trust_domain().name() != domain.trust_domain()) continue;
    std::string name = peer.ToString();
    if (!revoked.contains(name)) peers.push_back(std::move(name));
  }
  return peers;
}

std::optional<EnvoySecret> EnvoySecrets::Peers(absl::string_view name) const {
  const v1::TrustDomainContext* domain = TrustOf(own_domain_);
  if (domain == nullptr) return std::nullopt;
  absl::string_view only = name;
  const bool one = absl::ConsumePrefix(&only, absl::StrCat(kOutboundPeersSecret, ":"));
  if (one ? !trust::SpiffeId::Parse(only).ok()
          : name != kInboundPeersSecret && name != kOutboundPeersSecret) {
    return std::nullopt;
  }
  EnvoySecret secret;
  tls::CertificateValidationContext& context = *secret.mutable_validation_context();
  std::string anchors = AnchorsOf(*domain, &context);
  if (!anchors.empty()) {
    const auto direction =
        name == kInboundPeersSecret ? trust::Direction::kInbound : trust::Direction::kOutbound;
    for (const std::string& peer : AllowedPeers(direction, *domain)) {
      if (!one || peer == only) AddMatcher(peer, &context);
    }
  } else {
    anchors = Pem(domain->anchors());  // Envoy takes no matcher without anchors
    if (anchors.empty()) return std::nullopt;
  }
  context.mutable_trusted_ca()->set_inline_bytes(std::move(anchors));
  if (context.match_typed_subject_alt_names().empty()) AddMatcher(kNobody, &context);
  return secret;
}

std::optional<EnvoySecret> EnvoySecrets::Trust(absl::string_view name) const {
  const auto one = [this](absl::string_view trust_domain) -> std::optional<EnvoySecret> {
    const v1::TrustDomainContext* domain = TrustOf(trust_domain);
    return domain == nullptr ? std::nullopt : Bundle({domain});
  };
  if (name == kRootSecret) return one(own_domain_);
  if (name == kAllSecret) {
    std::vector<const v1::TrustDomainContext*> all;
    for (const v1::TrustDomainContext& domain : contexts_->trust_domains()) all.push_back(&domain);
    return Bundle(all);
  }
  if (absl::ConsumePrefix(&name, kScheme)) return one(name);
  return Peers(name);
}

std::optional<EnvoySecrets::Known> EnvoySecrets::Look(absl::string_view name) const {
  if (const v1::Identity* identity = IdentityOf(name)) {
    // A key is of its certificate: it need not be hashed.
    x509::FieldHasher hasher("linchpin envoy certificate v1");
    hasher.Add(name);
    for (const std::string& der : identity->chain()) hasher.Add(der);
    return Known{.version = Version(hasher), .is_trust = false};
  }
  const std::optional<EnvoySecret> secret = Trust(name);
  if (!secret.has_value()) return std::nullopt;
  x509::FieldHasher hasher("linchpin envoy validation v1");
  hasher.Add(name).Add(secret->SerializeAsString());
  return Known{.version = Version(hasher), .is_trust = true};
}

EnvoySecret EnvoySecrets::Render(absl::string_view name) const {
  EnvoySecret secret;
  if (const v1::Identity* identity = IdentityOf(name)) {
    tls::TlsCertificate& certificate = *secret.mutable_tls_certificate();
    certificate.mutable_certificate_chain()->set_inline_bytes(Pem(identity->chain()));
    std::string* key = certificate.mutable_private_key()->mutable_inline_bytes();
    key->reserve(x509::PemSize(kKey, identity->private_key().size()));
    x509::AppendPem(kKey, identity->private_key(), key);
  } else if (std::optional<EnvoySecret> trust = Trust(name)) {
    secret = *std::move(trust);
  }
  secret.set_name(std::string(name));
  return secret;
}

std::shared_ptr<const v1::MtlsContexts> KeepRules(
    const std::shared_ptr<const v1::MtlsContexts>& before,
    std::shared_ptr<const v1::MtlsContexts> next) {
  if (before == nullptr || next->identities_size() > 0 || next->trust_domains_size() == 0) {
    return next;
  }
  auto kept = std::make_shared<v1::MtlsContexts>(*next);  // which has no key
  for (const v1::Identity& identity : before->identities()) {
    v1::Identity& one = *kept->add_identities();
    one.set_spiffe_id(identity.spiffe_id());
    *one.mutable_rules() = identity.rules();
  }
  return kept;
}

void WipeKey(EnvoySecret* secret) {
  if (!secret->has_tls_certificate()) return;
  x509::WipeString(
      secret->mutable_tls_certificate()->mutable_private_key()->mutable_inline_bytes());
}

}  // namespace linchpin::agent
