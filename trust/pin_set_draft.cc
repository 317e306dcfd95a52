// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/pin_set_draft.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "trust/text.h"

namespace linchpin::trust {
namespace {

constexpr size_t kMaxLabel = 128;
constexpr absl::Duration kLife = absl::Hours(24 * 365);

std::optional<v1::PossessionProof> ProofIn(const v1::PinSet& set, const std::string& pin) {
  for (const v1::IssuerPin& issuer : set.issuers()) {
    if (issuer.spki_sha256() == pin && issuer.has_proof()) return issuer.proof();
  }
  return std::nullopt;
}

void AddIssuer(const v1::PinSet& before, const KeyToPin& key, v1::PinSet* set) {
  v1::IssuerPin* issuer = set->add_issuers();
  issuer->set_spki_sha256(key.spki_sha256);
  issuer->set_role(key.role);
  std::optional<v1::PossessionProof> proof = key.proof;
  if (!proof.has_value() && key.role == v1::IssuerPin::BACKUP) {
    proof = ProofIn(before, key.spki_sha256);
  }
  if (proof.has_value()) *issuer->mutable_proof() = *std::move(proof);
}

}  // namespace

std::optional<v1::IssuerPin::Role> PinRoleOf(absl::string_view authority_state) {
  if (authority_state == "retired") return std::nullopt;
  if (authority_state == "backup") return v1::IssuerPin::BACKUP;
  if (authority_state == "prepared") return v1::IssuerPin::NEXT;
  return v1::IssuerPin::ACTIVE;  // also while it retires: its leaves still live
}

absl::StatusOr<DraftedPinSet> DraftPinSet(const TrustDomain& trust_domain,
                                          const std::optional<v1::PinSet>& before,
                                          const std::vector<KeyToPin>& keys,
                                          const DraftChanges& changes, absl::Time now) {
  const v1::PinSet last = before.value_or(v1::PinSet());
  if (!before.has_value() && !changes.signers.has_value()) {
    return absl::InvalidArgumentError(
        "there is no pin set before this one to take the signers of: name those who sign");
  }
  const bool first = !before.has_value();
  v1::PinSet set;
  set.set_trust_domain(trust_domain.name());
  set.set_version(last.version() + 1);
  set.set_mode(changes.mode.value_or(first ? v1::PinSet::ENFORCE : last.mode()));
  set.set_any_under_anchor(changes.any_under_anchor.value_or(last.any_under_anchor()));
  set.set_on_expiry(changes.on_expiry.value_or(last.on_expiry()));
  set.set_urgent(changes.urgent);
  *set.mutable_signers() = changes.signers.has_value() ? *changes.signers : last.signers();
  set.set_freshness_key(changes.freshness_key.value_or(last.freshness_key()));
  const absl::Duration life =
      changes.life.value_or(first ? kLife : absl::Seconds(last.expires_at() - last.issued_at()));
  set.set_issued_at(absl::ToUnixSeconds(now));
  set.set_expires_at(absl::ToUnixSeconds(now + life));
  for (const KeyToPin& key : keys) {
    if (!key.is_root) {
      if (!set.any_under_anchor()) AddIssuer(last, key, &set);
      continue;
    }
    v1::AnchorPin* anchor = set.add_anchors();
    anchor->set_spki_sha256(key.spki_sha256);
    anchor->set_label(std::string(Beginning(key.label, kMaxLabel)));
  }
  std::stable_sort(set.mutable_issuers()->begin(), set.mutable_issuers()->end(),
                   [](const auto& a, const auto& b) { return a.role() < b.role(); });
  std::string payload = set.SerializeAsString();
  ASSIGN_OR_RETURN(PinSet checked, ParsePinSet(payload));
  return DraftedPinSet{std::move(payload), std::move(checked)};
}

}  // namespace linchpin::trust
