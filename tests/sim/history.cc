// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/history.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace linchpin::sim {

void History::Record(const ca::Registry& registry) {
  State& state = states_[registry.revision()];
  for (const auto& [pair, row] : registry.rules()) {
    if (row.record.rule().outbound() && row.record.rule().inbound()) state.allowed.insert(pair);
  }
  for (const auto& [id, row] : registry.identities()) {
    state.registered.insert(row.record.identity().spiffe_id());
  }
  for (const auto& [key, row] : registry.authorities()) {
    const auto certificate = x509::Certificate::FromDer(row.record.certificate());
    if (certificate.ok() && certificate->IsSelfIssued()) {
      roots_.insert(certificate->public_key().pin().bytes());
    }
  }
  std::vector<trust::v1::Revocation> revoked;
  for (const auto& [key, row] : registry.revocations()) {
    revoked.insert(revoked.end(), row.record.revocations().begin(), row.record.revocations().end());
  }
  auto revocations = trust::Revocations::FromMessages(std::move(revoked));
  if (revocations.ok()) {
    revocations_.insert_or_assign(registry.trust().record.epoch(), *std::move(revocations));
  }
}

void History::BeginLife() { pasts_.push_back(std::exchange(revocations_, {})); }

History::Answer History::Allowed(const Pair& pair, ca::Revision a, ca::Revision b) const {
  const ca::Revision first = std::min(a, b);
  const ca::Revision last = std::max(a, b);
  auto it = states_.upper_bound(first);
  if (it != states_.begin()) it = std::prev(it);
  bool ever = false;
  bool always = true;
  for (; it != states_.end() && it->first <= last; ++it) {
    const bool allowed = it->second.allowed.contains(pair);
    ever = ever || allowed;
    always = always && allowed;
  }
  if (ever && always) return Answer::kAlways;
  return ever ? Answer::kSometimes : Answer::kNever;
}

History::Answer History::Revoked(const trust::SpiffeId& id, const x509::Chain& chain, uint64_t a,
                                 uint64_t b) const {
  bool ever = false;
  bool always = true;
  const auto look = [&](const Epochs& epochs) {
    if (epochs.empty() || epochs.rbegin()->first < std::min(a, b)) return;  // never came so far
    auto it = epochs.upper_bound(std::min(a, b));
    if (it != epochs.begin()) it = std::prev(it);
    for (; it != epochs.end() && it->first <= std::max(a, b); ++it) {
      const bool revoked = it->second.Denies(id, chain).has_value();
      ever = ever || revoked;
      always = always && revoked;
    }
  };
  look(revocations_);
  for (const Epochs& past : pasts_) look(past);
  if (ever && always) return Answer::kAlways;
  return ever ? Answer::kSometimes : Answer::kNever;
}

bool History::RegisteredSince(const std::string& spiffe_id, ca::Revision since) const {
  auto it = states_.upper_bound(since);
  if (it != states_.begin()) it = std::prev(it);
  return std::all_of(it, states_.end(),
                     [&](const auto& at) { return at.second.registered.contains(spiffe_id); });
}

}  // namespace linchpin::sim
