// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Everything that the agent knows and must not lose: what is sealed, and what is served.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/core/certified.h"
#include "linchpin/state/v1/agent_state.pb.h"
#include "sync/projection.h"
#include "trust/trust_acceptance.h"
#include "x509/key.h"

namespace linchpin::agent {

// A value; copies share what they point at.
struct Model {
  std::optional<x509::PrivateKey> node_key;  // made first, so that a token is bound to a kept key
  std::string node_id;
  CertifiedPtr node;                              // null before attestation
  std::shared_ptr<const trust::TrustHeld> trust;  // null before attestation; has a state
  std::shared_ptr<const sync::Projection> projection = std::make_shared<sync::Projection>();
  std::string incarnation;
  uint64_t revision = 0;
  std::map<std::string, CertifiedPtr> certificates;  // by identity id
  int64_t last_ca_time = 0;
  state::v1::KnownTime known_time;
  std::shared_ptr<const state::v1::ServedProcesses> served;  // to be sealed; null: none

  const trust::v1::TrustState& trust_message() const {
    return trust == nullptr ? trust::v1::TrustState::default_instance() : trust->message;
  }
  uint64_t trust_epoch() const { return trust == nullptr ? 0 : trust->message.epoch(); }
  uint64_t pin_set_version() const { return trust == nullptr ? 0 : trust->cursor.version; }
};

inline constexpr uint32_t kStateFormat = 1;

state::v1::AgentState EncodeState(const Model& model, const trust::TrustDomain& trust_domain);

// Wipes the private keys of a message that is no longer needed.
void WipeKeys(state::v1::AgentState* state);

// FAILED_PRECONDITION: of another trust domain, or of a newer format (both are named). DATA_LOSS:
// contradicts itself.
absl::StatusOr<Model> DecodeState(const state::v1::AgentState& state,
                                  const trust::TrustDomain& trust_domain, absl::Time now,
                                  absl::Duration skew);

}  // namespace linchpin::agent
