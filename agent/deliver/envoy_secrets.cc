// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/deliver/envoy_secrets.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.pb.h"
#include "trust/peer_policy.h"
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
                           EnvoyAnchors anchors, std::shared_ptr<const EnvoySelf> self)
    : contexts_(std::move(contexts)),
      self_(std::move(self)),
      style_(style),
      default_id_(self_->default_id) {
  if (default_id_.empty() && contexts_->identities_size() > 0) {
    default_id_ = contexts_->identities(0).spiffe_id();
  }
  for (const v1::TrustDomainContext& context : contexts_->trust_domains()) {
    Domain& domain = domains_.emplace_back();
    domain.name = context.trust_domain();
    domain.context = &context;
    const trust::Bundle bundle = trust::BundleOf(context, anchors.kind, anchors.now);
    domain.pinned = bundle.holds == trust::BundleKind::kPinned;
    domain.anchors = Pem(bundle.certificates);
    domain.has_anchors = bundle.why_empty.empty();
  }
}

std::vector<std::string> EnvoySecrets::Names() const {
  std::vector<std::string> names;
  for (const v1::Identity& identity : contexts_->identities()) {
    names.push_back(identity.spiffe_id());
  }
  for (const Domain& domain : domains_) names.push_back(absl::StrCat(kScheme, domain.name));
  names.push_back(kInboundPeersSecret);
  names.push_back(kOutboundPeersSecret);
  return names;
}

const v1::Identity* EnvoySecrets::Served(absl::string_view name) const {
  const absl::string_view id = name == kDefaultSecret ? default_id_ : name;
  for (const v1::Identity& identity : contexts_->identities()) {
    if (identity.spiffe_id() == id && identity.chain_size() > 0) return &identity;
  }
  return nullptr;
}

const v1::Identity* EnvoySecrets::SelfOf(absl::string_view id) const {
  for (const v1::Identity& identity : contexts_->identities()) {
    if (identity.spiffe_id() == id) return &identity;
  }
  for (const v1::Identity& identity : self_->withdrawn) {
    if (identity.spiffe_id() == id) return &identity;
  }
  return nullptr;
}

const EnvoySecrets::Domain* EnvoySecrets::DomainNamed(absl::string_view name) const {
  for (const Domain& domain : domains_) {
    if (!name.empty() && domain.name == name) return &domain;
  }
  return nullptr;
}

const std::string& EnvoySecrets::AnchorsOf(const Domain& domain,
                                           tls::CertificateValidationContext* to) {
  // A twin allows no CA beneath it, but Envoy's library does not ask an anchor for its path length.
  if (domain.pinned) to->mutable_max_verify_depth()->set_value(1);
  return domain.anchors;
}

std::optional<EnvoySecret> EnvoySecrets::Bundle(const std::vector<const Domain*>& domains) const {
  EnvoySecret secret;
  tls::CertificateValidationContext& context = *secret.mutable_validation_context();
  if (!style_.spiffe_validator) {
    // Envoy's own validator cannot keep trust domains apart.
    if (domains.size() != 1) return std::nullopt;
    context.mutable_trusted_ca()->set_inline_bytes(AnchorsOf(*domains[0], &context));
    return secret;
  }
  if (domains.empty()) return std::nullopt;
  tls::SPIFFECertValidatorConfig config;
  for (const Domain* domain : domains) {
    tls::SPIFFECertValidatorConfig::TrustDomain& one = *config.add_trust_domains();
    one.set_name(domain->name);
    one.mutable_trust_bundle()->set_inline_bytes(AnchorsOf(*domain, &context));
  }
  context.mutable_custom_validator_config()->set_name(kValidator);
  context.mutable_custom_validator_config()->mutable_typed_config()->PackFrom(config);
  return secret;
}

const EnvoySecrets::Allowed& EnvoySecrets::AllowedOf(const v1::Identity& self,
                                                     const Domain& domain) const {
  const auto [it, fresh] = allowed_.try_emplace(self.spiffe_id());
  Allowed& allowed = it->second;
  if (!fresh || !domain.has_anchors) return allowed;
  const absl::StatusOr<trust::SpiffeId> id = trust::SpiffeId::Parse(self.spiffe_id());
  if (!id.ok()) return allowed;
  const absl::StatusOr<trust::PeerPolicy> policy =
      trust::PeerPolicy::ForIdentity(*id, {self.rules().begin(), self.rules().end()});
  if (!policy.ok()) return allowed;
  const auto names = [&](trust::Direction direction) {
    std::vector<std::string> found;
    for (const trust::SpiffeId& peer : policy->Peers(direction)) {
      if (peer.trust_domain().name() == domain.name) found.push_back(peer.ToString());
    }
    std::sort(found.begin(), found.end());
    // There may be far more revocations than peers.
    std::set<std::string> revoked;
    for (const trust::v1::Revocation& one : domain.context->revocations()) {
      if (std::binary_search(found.begin(), found.end(), one.spiffe_id())) {
        revoked.insert(one.spiffe_id());
      }
    }
    std::erase_if(found, [&](const std::string& name) { return revoked.contains(name); });
    return found;
  };
  allowed = {names(trust::Direction::kInbound), names(trust::Direction::kOutbound)};
  return allowed;
}

std::optional<EnvoySecret> EnvoySecrets::Peers(absl::string_view name) const {
  absl::string_view peer = name;
  absl::string_view own = name;
  const bool one = absl::ConsumePrefix(&peer, absl::StrCat(kOutboundPeersSecret, ":"));
  const bool of_own = absl::ConsumePrefix(&own, absl::StrCat(kInboundPeersSecret, ":"));
  const bool inbound = of_own || name == kInboundPeersSecret;
  if (!inbound && name != kOutboundPeersSecret && !(one && trust::SpiffeId::Parse(peer).ok())) {
    return std::nullopt;
  }
  const v1::Identity* self = SelfOf(of_own ? own : absl::string_view(default_id_));
  if (self == nullptr) return std::nullopt;
  const Domain* domain = DomainNamed(DomainOf(self->spiffe_id()));
  if (domain == nullptr) return std::nullopt;
  EnvoySecret secret;
  tls::CertificateValidationContext& context = *secret.mutable_validation_context();
  context.mutable_trusted_ca()->set_inline_bytes(AnchorsOf(*domain, &context));
  const Allowed& allowed = AllowedOf(*self, *domain);
  const std::vector<std::string>& peers = inbound ? allowed.inbound : allowed.outbound;
  if (!one) {
    for (const std::string& each : peers) AddMatcher(each, &context);
  } else if (std::binary_search(peers.begin(), peers.end(), peer)) {
    AddMatcher(std::string(peer), &context);
  }
  if (context.match_typed_subject_alt_names().empty()) AddMatcher(kNobody, &context);
  return secret;
}

std::optional<EnvoySecret> EnvoySecrets::Trust(absl::string_view name) const {
  const auto one = [this](absl::string_view trust_domain) -> std::optional<EnvoySecret> {
    const Domain* domain = DomainNamed(trust_domain);
    return domain == nullptr ? std::nullopt : Bundle({domain});
  };
  if (name == kRootSecret) return one(DomainOf(default_id_));
  if (name == kAllSecret) {
    std::vector<const Domain*> all;
    for (const Domain& domain : domains_) all.push_back(&domain);
    return Bundle(all);
  }
  if (absl::ConsumePrefix(&name, kScheme)) return one(name);
  return Peers(name);
}

std::optional<EnvoySecrets::Known> EnvoySecrets::Look(absl::string_view name) const {
  if (const v1::Identity* identity = Served(name)) {
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
  if (const v1::Identity* identity = Served(name)) {
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

std::shared_ptr<const EnvoySelf> KeepWithdrawn(
    const EnvoySelf& self, const v1::MtlsContexts& before, const v1::MtlsContexts& next,
    const std::function<bool(const std::string&)>& keep) {
  std::set<absl::string_view> there;
  for (const v1::Identity& identity : next.identities()) there.insert(identity.spiffe_id());
  auto kept = std::make_shared<EnvoySelf>();
  kept->default_id = self.default_id;
  const auto add = [&](const v1::Identity& identity) {
    if (!keep(identity.spiffe_id()) || !there.insert(identity.spiffe_id()).second) return;
    v1::Identity& one = kept->withdrawn.emplace_back();
    one.set_spiffe_id(identity.spiffe_id());
    *one.mutable_rules() = identity.rules();
  };
  for (const v1::Identity& identity : before.identities()) add(identity);
  for (const v1::Identity& identity : self.withdrawn) add(identity);
  return kept;
}

void WipeKey(EnvoySecret* secret) {
  if (!secret->has_tls_certificate()) return;
  x509::WipeString(
      secret->mutable_tls_certificate()->mutable_private_key()->mutable_inline_bytes());
}

}  // namespace linchpin::agent
