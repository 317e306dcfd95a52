// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The CA's own certificate, which nodes judge it by.

#include <utility>

#include "ca/core/ca_core.h"
#include "ca/core/issuing.h"
#include "ca/core/reply.h"
#include "ca/core/rotation.h"

namespace linchpin::ca {
namespace {

constexpr absl::Duration kServingAnswer = absl::Minutes(1);
constexpr absl::Duration kServingRetry = absl::Seconds(5);

absl::StatusOr<std::string> OnlyOne(absl::StatusOr<MadeCertificates> made) {
  if (!made.ok()) return made.status();
  return std::move(made->front());
}

}  // namespace

// Nodes that do not trust the new issuer yet are to hear of it: until nobody needs the old one any
// more, it is the old one that makes the CA's own certificate, if it can.
const Authority& CaCore::ServingIssuer(absl::Time now) const {
  const Authority* old = IssuerBeforeDrain(registry_, authorities_);
  if (old == nullptr) return authorities_.active();
  const absl::Duration left = old->certificate.fields().not_after - now;
  const bool can = left >= options_.profile.node_ttl / 2 &&
                   !own_trust_->revocations().DeniesKey(old->certificate.public_key().pin()) &&
                   old->certificate.public_key().pin().bytes() != cannot_serve_;
  return can ? *old : authorities_.active();
}

// If it is time, or another issuer's turn.
void CaCore::RenewServing(absl::Time now, Actions* out) {
  const std::string by = ServingIssuer(now).certificate.public_key().pin().bytes();
  if (draining_ || (now < serving_renew_at_ && by == serving_by_)) return;
  serving_by_ = by;
  serving_renew_at_ = now + kServingAnswer;  // unless it is made before
  out->push_back(action::MakeServingKey{});
}

void CaCore::On(absl::Time now, event::ServingKeyMade event, Actions* out) {
  serving_renew_at_ = now + kServingRetry;  // unless it is made
  const Authority& issuer = ServingIssuer(now);
  serving_by_ = issuer.certificate.public_key().pin().bytes();
  const std::string ca_id = trust::CaId(options_.profile.trust_domain).ToString();
  auto spec = LeafSpec(options_.profile, {.spiffe_id = ca_id, .dns_names = {}},
                       options_.profile.node_ttl, issuer.certificate, now, random_);
  if (!spec.ok()) return UseServing(now, spec.status(), out);
  SignAndLog(
      issuer,
      {{.spec = *std::move(spec),
        .spiffe_id = ca_id,
        .node_id = "",
        .key = event.key,
        .request = {}}},
      [this](absl::Time later, absl::StatusOr<MadeCertificates> made, Actions* then) {
        UseServing(later, OnlyOne(std::move(made)), then);
      },
      out);
}

void CaCore::UseServing(absl::Time now, const absl::StatusOr<std::string>& der, Actions* out) {
  const absl::StatusOr<x509::Certificate> made =
      der.ok() ? x509::Certificate::FromDer(*der) : der.status();
  out->push_back(CountIssued("ca", made.status(), 1));
  if (!made.ok()) {
    out->push_back(action::Note{.warning = true,
                                .message = "the CA's own certificate was not renewed",
                                .fields = {{"error", std::string(made.status().message())}},
                                .counter = "",
                                .labels = {}});
    if (absl::IsFailedPrecondition(made.status())) cannot_serve_ = serving_by_;
    return;
  }
  const x509::Certificate& leaf = *made;
  const Authority* asked = authorities_.FindIssuer(serving_by_);
  if (asked != nullptr && !leaf.IsSignedBy(asked->certificate.public_key())) {
    return;  // it was another's turn meanwhile, whose is on its way
  }
  // The issuer that was asked for it, which need not be the active one any more.
  x509::Chain chain = {leaf};
  for (const Authority& authority : authorities_.all()) {
    if (authority.is_root || !leaf.IsSignedBy(authority.certificate.public_key())) continue;
    chain.push_back(authority.certificate);
    if (const Authority* root = authorities_.RootOf(authority)) chain.push_back(root->certificate);
  }
  serving_expires_ = leaf.fields().not_after;
  serving_renew_at_ = now + (serving_expires_ - now) / 2;
  out->push_back(action::UseServingCertificate{.chain = std::move(chain)});
}

}  // namespace linchpin::ca
