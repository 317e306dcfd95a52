// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/model.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/text.h"

namespace linchpin::agent {
namespace {

absl::StatusOr<std::shared_ptr<const trust::TrustHeld>> DecodeTrust(
    const state::v1::AgentState& state, const trust::TrustDomain& trust_domain, absl::Time now,
    absl::Duration skew) {
  trust::TrustHeld held{.cursor = {.trust_domain = trust_domain}};
  if (state.has_signers()) {
    ASSIGN_OR_RETURN(held.cursor.signers, trust::DecodeSigners(state.signers()));
  }
  held.cursor.version = state.pin_set_version();
  held.cursor.minimum_version = state.minimum_version();
  held.set_zero = state.set_zero();
  for (const std::string& bytes : state.frozen_anchors()) {
    ASSIGN_OR_RETURN(x509::SpkiPin pin, x509::SpkiPin::FromBytes(bytes));
    held.frozen_anchors.push_back(pin);
  }
  for (const std::string& bytes : state.declared()) {
    ASSIGN_OR_RETURN(x509::SpkiPin pin, x509::SpkiPin::FromBytes(bytes));
    held.declared.push_back(pin);
  }
  held.expired = state.pins_expired();
  held.message = state.trust();
  held.offered = state.trust_digest();
  // Sealed by a program that did not keep them apart.
  held.incarnation =
      state.trust_incarnation().empty() ? state.incarnation() : state.trust_incarnation();
  const auto& left = state.left_incarnations();
  held.left = {left.begin(), left.end()};
  const state::v1::RelaxedPins& relaxed = state.relaxed();
  held.relaxed.used = {relaxed.used().begin(), relaxed.used().end()};
  if (!held.relaxed.used.empty()) {
    held.relaxed.began_at = absl::FromUnixMillis(relaxed.began_at_ms());
    held.relaxed.ends_at = absl::FromUnixMillis(relaxed.ends_at_ms());
  }
  ASSIGN_OR_RETURN(
      trust::TrustHeld accepted,
      trust::AcceptTrust(held, state.trust(), {.now = now, .skew = skew, .sealed = true}));
  return std::make_shared<const trust::TrustHeld>(std::move(accepted));
}

absl::Status Damaged(absl::string_view what, const absl::Status& status) {
  return absl::DataLossError(
      absl::StrCat("the sealed state is damaged: ", what, ": ", status.message()));
}

}  // namespace

state::v1::AgentState EncodeState(const Model& model, const trust::TrustDomain& trust_domain) {
  state::v1::AgentState state;
  state.set_format(kStateFormat);
  state.set_trust_domain(trust_domain.name());
  state.set_node_id(model.node_id);
  if (model.node != nullptr) {
    *state.mutable_node_certificate() = Encode("", *model.node);
  } else if (model.node_key.has_value()) {
    state.mutable_node_certificate()->set_private_key(
        std::string(model.node_key->ToPkcs8().Reveal()));
  }
  state.set_incarnation(model.incarnation);
  state.set_revision(model.revision);
  if (model.trust != nullptr) {
    const trust::TrustHeld& held = *model.trust;
    *state.mutable_trust() = held.message;
    for (const x509::SpkiPin& pin : held.frozen_anchors) state.add_frozen_anchors(pin.bytes());
    for (const x509::SpkiPin& pin : held.declared) state.add_declared(pin.bytes());
    state.set_pins_expired(held.expired);
    state.set_set_zero(held.set_zero);
    if (!held.cursor.signers.empty()) {
      *state.mutable_signers() = trust::EncodeSigners(held.cursor.signers);
    }
    state.set_pin_set_version(held.cursor.version);
    state.set_minimum_version(held.cursor.minimum_version);
    state.set_trust_digest(held.offered);
    state.set_trust_incarnation(held.incarnation);
    for (const std::string& left : held.left) state.add_left_incarnations(left);
    for (const std::string& id : held.relaxed.used) state.mutable_relaxed()->add_used(id);
    if (!held.relaxed.used.empty()) {
      state.mutable_relaxed()->set_began_at_ms(absl::ToUnixMillis(held.relaxed.began_at));
      state.mutable_relaxed()->set_ends_at_ms(absl::ToUnixMillis(held.relaxed.ends_at));
    }
  }
  for (const auto& [id, identity] : model.projection->identities) {
    *state.add_identities() = identity;
  }
  for (const auto& [pair, rule] : model.projection->rules) *state.add_rules() = rule;
  for (const auto& [id, certified] : model.certificates) {
    *state.add_certificates() = Encode(id, *certified);
  }
  state.set_last_ca_time(model.last_ca_time);
  *state.mutable_known_time() = model.known_time;
  if (model.served != nullptr) *state.mutable_served() = *model.served;
  return state;
}

void WipeKeys(state::v1::AgentState* state) {
  if (state->has_node_certificate()) {
    x509::WipeString(state->mutable_node_certificate()->mutable_private_key());
  }
  for (state::v1::KeyedCertificate& certificate : *state->mutable_certificates()) {
    x509::WipeString(certificate.mutable_private_key());
  }
}

absl::StatusOr<Model> DecodeState(const state::v1::AgentState& state,
                                  const trust::TrustDomain& trust_domain, absl::Time now,
                                  absl::Duration skew) {
  if (state.format() > kStateFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat("the sealed state has format ", state.format(), ", this program knows up to ",
                     kStateFormat, ": use the newer program that wrote it"));
  }
  if (state.trust_domain() != trust_domain.name()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the sealed state is of trust domain ", trust::Quoted(state.trust_domain()), ", not of ",
        trust_domain.name(), ": give the right --trust-domain or another --data-dir"));
  }
  Model model;
  model.node_id = state.node_id();
  if (state.node_certificate().chain_size() > 0) {
    absl::StatusOr<CertifiedPtr> node = Decode(state.node_certificate(), nullptr);
    if (!node.ok()) return Damaged("the node's certificate", node.status());
    model.node = *std::move(node);
    auto key = x509::PrivateKey::FromPkcs8(model.node->key);
    if (!key.ok()) return Damaged("the node's key", key.status());
    model.node_key = *std::move(key);
    auto held = DecodeTrust(state, trust_domain, now, skew);
    if (!held.ok()) return Damaged("the trust state", held.status());
    model.trust = *std::move(held);
  } else if (state.has_node_certificate()) {
    auto key =
        x509::PrivateKey::FromPkcs8(x509::SecretBytes(state.node_certificate().private_key()));
    if (!key.ok()) return Damaged("the node's key", key.status());
    model.node_key = *std::move(key);
  }
  model.incarnation = state.incarnation();
  model.revision = state.revision();
  auto projection = std::make_shared<sync::Projection>();
  for (const ca::v1::NodeIdentity& identity : state.identities()) {
    projection->identities[identity.identity_id()] = identity;
  }
  for (const trust::v1::PeerRule& rule : state.rules()) {
    projection->rules[{rule.from(), rule.to()}] = rule;
  }
  model.projection = std::move(projection);
  const Certified* like = model.node.get();
  for (const state::v1::KeyedCertificate& message : state.certificates()) {
    if (!model.projection->identities.contains(message.identity_id())) continue;
    absl::StatusOr<CertifiedPtr> certified = Decode(message, like);
    if (!certified.ok()) return Damaged("a certificate", certified.status());
    like = certified->get();
    model.certificates[message.identity_id()] = *std::move(certified);
  }
  model.last_ca_time = state.last_ca_time();
  model.known_time = state.known_time();
  return model;
}

}  // namespace linchpin::agent
