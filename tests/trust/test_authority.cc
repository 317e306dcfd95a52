// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/trust/test_authority.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "x509/digest.h"

namespace linchpin::test {
namespace {

std::string SerialFor(const std::string& name) {
  // Positive and never starting with a zero byte.
  return absl::StrCat("\x01", x509::Sha256(name).substr(0, 8));
}

x509::CertificateSpec CaSpec(const std::string& name, int path_length, absl::Duration life) {
  x509::CertificateSpec spec;
  spec.organization = "Linchpin";
  spec.common_name = name;
  spec.serial = SerialFor(name);
  spec.not_before = kNow - absl::Hours(24);
  spec.not_after = kNow + life;
  spec.is_ca = true;
  spec.path_length = path_length;
  spec.key_cert_sign = true;
  spec.crl_sign = true;
  return spec;
}

Certified MakeRoot(const std::string& name) {
  const x509::PrivateKey key = KeyNamed(name);
  return {*x509::SelfSign(CaSpec(name, 1, absl::Hours(24 * 3650)), key), key};
}

Certified IssuerUnder(const Certified& root, const std::string& name) {
  const x509::PrivateKey key = KeyNamed(name);
  return {*x509::SignCertificate(CaSpec(name, 0, absl::Hours(24 * 90)), key.public_key(),
                                 root.certificate, root.key),
          key};
}

}  // namespace

x509::PrivateKey KeyNamed(const std::string& name) {
  static auto& keys = *new std::map<std::string, x509::PrivateKey>();
  const auto it = keys.find(name);
  if (it != keys.end()) return it->second;
  return keys.emplace(name, *x509::PrivateKey::Generate(x509::KeyType::kP256)).first->second;
}

TestAuthority::TestAuthority(const std::string& trust_domain, const std::string& name)
    : trust_domain_(*trust::TrustDomain::FromName(trust_domain)),
      root_(MakeRoot(name + " root")),
      active_(IssuerUnder(root_, name + " active")),
      backup_(IssuerUnder(root_, name + " backup")) {}

Certified TestAuthority::MakeIssuer(const std::string& name) const {
  return IssuerUnder(root_, name);
}

x509::Certificate TwinOf(const Certified& issuer) {
  // Signatures differ each time: as a CA does, each is made once and kept.
  static auto& twins = *new std::map<std::string, x509::Certificate>();
  const auto it = twins.find(issuer.certificate.der());
  if (it != twins.end()) return it->second;
  const std::string serial = SerialFor("twin" + issuer.certificate.fields().subject);
  return twins
      .emplace(issuer.certificate.der(), *x509::MakeTwin(issuer.certificate, issuer.key, serial))
      .first->second;
}

trust::SpiffeId TestAuthority::Id(const std::string& path) const {
  return *trust::SpiffeId::Make(trust_domain_, path);
}

Certified TestAuthority::Leaf(const std::string& path, const Certified& issuer,
                              const std::string& key_name) const {
  const x509::PrivateKey key = KeyNamed(key_name.empty() ? "leaf " + path : key_name);
  x509::CertificateSpec spec;
  spec.organization = "Linchpin";
  spec.serial = SerialFor(absl::StrCat(path, issuer.pin().bytes(), key_name));
  spec.not_before = kNow - absl::Hours(1);
  spec.not_after = kNow + absl::Hours(1);
  spec.digital_signature = true;
  spec.server_auth = true;
  spec.client_auth = true;
  spec.uri_sans = {Id(path).ToString()};
  return {*x509::SignCertificate(spec, key.public_key(), issuer.certificate, issuer.key), key};
}

trust::TrustStateParts TestAuthority::StateParts() const {
  trust::TrustStateParts parts{.trust_domain = trust_domain_, .epoch = 1};
  parts.anchors = {root_.certificate};
  parts.issuers = {active_.certificate, backup_.certificate};
  parts.pins = trust::SetZero({root_.pin()}, {active_.pin(), backup_.pin()});
  return parts;
}

std::shared_ptr<const trust::TrustState> TestAuthority::State() const {
  return *trust::TrustState::Make(StateParts());
}

trust::v1::TrustState TestAuthority::Message(uint64_t epoch) const {
  trust::v1::TrustState message;
  message.set_trust_domain(trust_domain_.name());
  message.set_epoch(epoch);
  message.add_anchors(root_.certificate.der());
  for (const Certified* issuer : {&active_, &backup_}) {
    message.add_issuers(issuer->certificate.der());
    message.add_declared_issuers(issuer->pin().bytes());
    message.add_twins(TwinOf(*issuer).der());
  }
  return message;
}

namespace {

// The same bytes each time, so that one version is one set.
const trust::v1::PossessionProof& ProofOf(const trust::TrustDomain& trust_domain,
                                          const x509::PrivateKey& key) {
  static auto& made = *new std::map<std::string, trust::v1::PossessionProof>();
  const std::string id = absl::StrCat(trust_domain.name(), " ", key.public_key().pin().ToString());
  if (!made.contains(id)) made[id] = *trust::ProvePossession(trust_domain, key, kNow);
  return made.at(id);
}

}  // namespace

trust::v1::PinSet TestAuthority::PinSetMessage(uint64_t version,
                                               const std::vector<std::string>& signers,
                                               uint32_t threshold) const {
  trust::v1::PinSet set;
  set.set_trust_domain(trust_domain_.name());
  set.set_version(version);
  set.set_mode(trust::v1::PinSet::ENFORCE);
  set.add_anchors()->set_spki_sha256(root_.pin().bytes());
  trust::v1::IssuerPin* active = set.add_issuers();
  active->set_spki_sha256(active_.pin().bytes());
  active->set_role(trust::v1::IssuerPin::ACTIVE);
  trust::v1::IssuerPin* backup = set.add_issuers();
  backup->set_spki_sha256(backup_.pin().bytes());
  backup->set_role(trust::v1::IssuerPin::BACKUP);
  *backup->mutable_proof() = ProofOf(trust_domain_, backup_.key);
  set.set_issued_at(absl::ToUnixSeconds(kNow) - 60);
  set.set_expires_at(absl::ToUnixSeconds(kNow) + 86400 * 365);
  *set.mutable_signers() = SignersOf(signers, threshold);
  return set;
}

trust::v1::Signers SignersOf(const std::vector<std::string>& names, uint32_t threshold) {
  trust::v1::Signers signers;
  for (const std::string& name : names) signers.add_keys(KeyNamed(name).public_key().spki());
  signers.set_threshold(threshold);
  return signers;
}

trust::v1::SignedPinSet Sign(const trust::v1::PinSet& set, const std::vector<std::string>& names) {
  trust::v1::SignedPinSet result;
  result.set_payload(set.SerializeAsString());
  for (const std::string& name : names) {
    *result.add_signatures() = trust::SignPinSet(result.payload(), KeyNamed(name));
  }
  return result;
}

std::vector<std::string> Ders(const x509::Chain& chain) {
  std::vector<std::string> ders;
  for (const x509::Certificate& certificate : chain) ders.push_back(certificate.der());
  return ders;
}

std::shared_ptr<const trust::MtlsContext> ContextOf(
    const std::vector<std::shared_ptr<const trust::TrustState>>& trust,
    const std::vector<trust::v1::PeerRule>& rules, const std::string& self_path,
    const TestAuthority& authority) {
  trust::MtlsContextParts parts;
  for (const auto& state : trust) parts.trust.emplace(state->trust_domain(), state);
  parts.policy = *trust::PeerPolicy::ForIdentity(authority.Id(self_path), rules);
  const Certified leaf = authority.Leaf(self_path);
  parts.chain = {leaf.certificate, authority.active().certificate};
  parts.key = leaf.key;
  return *trust::MtlsContext::Make(std::move(parts));
}

trust::v1::PeerRule Rule(const std::string& from, const std::string& to) {
  trust::v1::PeerRule rule;
  rule.set_from(from);
  rule.set_to(to);
  rule.set_outbound(true);
  rule.set_inbound(true);
  return rule;
}

}  // namespace linchpin::test
