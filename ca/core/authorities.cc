// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/authorities.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/profile.h"
#include "trust/pin_set.h"

namespace linchpin::ca {
namespace {

constexpr absl::Duration kSkew = absl::Seconds(60);

absl::StatusOr<Authority> Decode(const std::string& key, const state::v1::AuthorityRecord& record) {
  const auto fault = [&](const absl::Status& status) {
    return absl::DataLossError(absl::StrCat("the store's record ", key,
                                            " cannot be read: ", std::string(status.message()),
                                            "; restore the store from a backup"));
  };
  auto certificate = x509::Certificate::FromDer(record.certificate());
  if (!certificate.ok()) return fault(certificate.status());
  Authority authority{.record_key = key,
                      .is_root = absl::StartsWith(key, "authority/root/"),
                      .state = record.state(),
                      .certificate = *certificate,
                      .key_name = record.key_name(),
                      .twin = std::nullopt,
                      .withheld = record.withheld(),
                      .canary = record.canary()};
  if (record.replace_until() > 0) {
    authority.replace_from = absl::FromUnixSeconds(record.replace_from());
    authority.replace_until = absl::FromUnixSeconds(record.replace_until());
  }
  if (!record.twin().empty()) {
    auto twin = x509::Certificate::FromDer(record.twin());
    if (!twin.ok()) return fault(twin.status());
    authority.twin = *twin;
  }
  return authority;
}

// Roots first, and of roots and issuers the active one.
int Rank(const Authority& authority) {
  const int rank = authority.state == kActive ? 0 : 1;
  return authority.is_root ? rank : rank + 2;
}

absl::Status NeedsOneActive(size_t found) {
  return absl::FailedPreconditionError(
      absl::StrCat("the store has ", found,
                   " active issuers under a root of its own, just one is expected; restore the "
                   "store from a backup"));
}

void AddCanaryAndReplacement(const Authority& issuer, trust::v1::TrustState* message) {
  if (!issuer.canary.empty()) {
    trust::v1::Canary* canary = message->add_canaries();
    canary->set_issuer_key_sha256(issuer.certificate.public_key().pin().bytes());
    canary->set_leaf(issuer.canary);
  }
  if (issuer.state != kRetiring || issuer.replace_until == absl::InfinitePast()) return;
  trust::v1::Replacement* replacement = message->add_replacements();
  replacement->set_issuer(issuer.certificate.der());
  replacement->set_from(absl::ToUnixSeconds(issuer.replace_from));
  replacement->set_until(absl::ToUnixSeconds(issuer.replace_until));
}

}  // namespace

absl::StatusOr<Authorities> Authorities::FromRegistry(const Registry& registry) {
  Authorities authorities;
  for (const auto& [key, row] : registry.authorities()) {
    ASSIGN_OR_RETURN(Authority authority, Decode(key, row.record));
    authorities.all_.push_back(std::move(authority));
  }
  std::stable_sort(authorities.all_.begin(), authorities.all_.end(),
                   [](const Authority& a, const Authority& b) { return Rank(a) < Rank(b); });
  size_t found = 0;
  for (size_t i = 0; i < authorities.all_.size(); ++i) {
    const Authority& authority = authorities.all_[i];
    if (authority.is_root || authority.state != kActive) continue;
    if (authorities.RootOf(authority) == nullptr) continue;
    authorities.active_ = i;
    ++found;
  }
  if (found != 1) return NeedsOneActive(found);
  return authorities;
}

const Authority* Authorities::RootOf(const Authority& issuer) const {
  for (const Authority& root : all_) {
    if (root.is_root &&
        root.certificate.fields().subject_der == issuer.certificate.fields().issuer_der &&
        issuer.certificate.IsSignedBy(root.certificate.public_key())) {
      return &root;
    }
  }
  return nullptr;
}

const Authority* Authorities::FindIssuer(absl::string_view pin_bytes) const {
  for (const Authority& authority : all_) {
    if (!authority.is_root && authority.certificate.public_key().pin().bytes() == pin_bytes) {
      return &authority;
    }
  }
  return nullptr;
}

const Authority* Authorities::Find(absl::string_view record_key) const {
  for (const Authority& authority : all_) {
    if (authority.record_key == record_key) return &authority;
  }
  return nullptr;
}

absl::Duration Authorities::LongestLeafOf(const Authority& issuer,
                                          absl::Duration issuer_ttl) const {
  const x509::CertificateFields& fields = issuer.certificate.fields();
  const absl::Duration life = fields.not_after - fields.not_before;
  const Authority* root = RootOf(issuer);
  return root != nullptr && root->key_name.empty() ? std::min(life, issuer_ttl) : life;
}

absl::Duration Authorities::LongestLeaf(absl::Duration issuer_ttl) const {
  // What was issued before `issuer_ttl` became less lives on.
  const absl::Duration once = std::max(issuer_ttl, kUsualIssuerTtl);
  absl::Duration longest = absl::ZeroDuration();
  for (const Authority& authority : all_) {
    if (!authority.is_root) longest = std::max(longest, LongestLeafOf(authority, once));
  }
  return longest;
}

bool IsDenied(const Registry& registry, const Authority& authority) {
  const std::string pin = authority.certificate.public_key().pin().bytes();
  for (const auto& [key, row] : registry.revocations()) {
    for (const trust::v1::Revocation& entry : row.record.revocations()) {
      if (entry.key_sha256() == pin) return true;
    }
  }
  return false;
}

trust::v1::TrustState TrustMessage(const Registry& registry, const Authorities& authorities,
                                   uint64_t pin_set_version) {
  trust::v1::TrustState message;
  message.set_trust_domain(registry.meta().trust_domain());
  message.set_epoch(registry.trust().record.epoch());
  // In the order of their keys: which of them signs is not a part of what is trusted.
  for (const auto& [key, row] : registry.authorities()) {
    const Authority* authority = authorities.Find(key);
    if (authority == nullptr || authority->withheld) continue;
    if (authority->is_root) {
      message.add_anchors(authority->certificate.der());
    } else {
      message.add_issuers(authority->certificate.der());
      message.add_declared_issuers(authority->certificate.public_key().pin().bytes());
      if (authority->twin.has_value()) message.add_twins(authority->twin->der());
      AddCanaryAndReplacement(*authority, &message);
    }
  }
  const auto& sets = registry.trust().record.pin_sets();
  for (int i = 0; i < sets.size(); ++i) {
    trust::v1::PinSet set;
    const bool known = set.ParseFromString(sets[i].payload()) && set.version() <= pin_set_version;
    if (!known || i + 1 == sets.size()) *message.add_pin_sets() = sets[i];
  }
  const state::v1::TrustRecord& trust = registry.trust().record;
  if (trust.has_relax()) *message.mutable_relax() = trust.relax();
  if (trust.has_freshness()) *message.mutable_freshness() = trust.freshness();
  for (const auto& [key, row] : registry.revocations()) {
    message.mutable_revocations()->MergeFrom(row.record.revocations());
  }
  return message;
}

absl::StatusOr<std::shared_ptr<const trust::TrustState>> OwnTrust(const Registry& registry,
                                                                  const Authorities& authorities) {
  ASSIGN_OR_RETURN(trust::TrustDomain trust_domain,
                   trust::TrustDomain::FromName(registry.meta().trust_domain()));
  const trust::v1::TrustState message = TrustMessage(registry, authorities, 0);
  ASSIGN_OR_RETURN(trust::Revocations revocations,
                   trust::Revocations::FromMessages(
                       {message.revocations().begin(), message.revocations().end()}));
  x509::Chain anchors, issuers;
  std::vector<x509::SpkiPin> anchor_pins, issuer_pins;
  for (const Authority& authority : authorities.all()) {
    if (authority.withheld) continue;
    const x509::Certificate& certificate = authority.certificate;
    (authority.is_root ? anchors : issuers).push_back(certificate);
    (authority.is_root ? anchor_pins : issuer_pins).push_back(certificate.public_key().pin());
  }
  return trust::TrustState::Make({.trust_domain = std::move(trust_domain),
                                  .epoch = message.epoch(),
                                  .anchors = std::move(anchors),
                                  .issuers = std::move(issuers),
                                  .pins = trust::SetZero(anchor_pins, issuer_pins),
                                  .revocations = std::move(revocations),
                                  .skew = kSkew});
}

}  // namespace linchpin::ca
