// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/peer_policy.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace linchpin::trust {
namespace {

constexpr size_t kMaxRules = 65536;

absl::StatusOr<SpiffeId> PartyOf(size_t index, absl::string_view field, absl::string_view text) {
  absl::StatusOr<SpiffeId> id = SpiffeId::Parse(text);
  if (!id.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("peer rule ", index, ", ", field, ": ", id.status().message()));
  }
  if (id->IsReserved()) {
    return absl::InvalidArgumentError(absl::StrCat("peer rule ", index, ", ", field, ": ",
                                                   id->ToString(),
                                                   " is reserved; rules are between services"));
  }
  return id;
}

// Two rules for one pair: the one that allows wins, in whatever order they come.
void Put(const SpiffeId& peer, v1::PeerRule::Mode mode,
         std::map<SpiffeId, v1::PeerRule::Mode>* half) {
  auto [it, fresh] = half->emplace(peer, mode);
  if (!fresh && mode == v1::PeerRule::ENFORCE) it->second = mode;
}

}  // namespace

absl::StatusOr<PeerPolicy> PeerPolicy::ForIdentity(const SpiffeId& self,
                                                   const std::vector<v1::PeerRule>& rules) {
  if (rules.size() > kMaxRules) {
    return absl::InvalidArgumentError(absl::StrCat("there are ", rules.size(), " peer rules for ",
                                                   self.ToString(), ", at most ", kMaxRules,
                                                   " are allowed"));
  }
  PeerPolicy policy;
  for (size_t i = 0; i < rules.size(); ++i) {
    const v1::PeerRule& rule = rules[i];
    ASSIGN_OR_RETURN(const SpiffeId from, PartyOf(i, "from", rule.from()));
    ASSIGN_OR_RETURN(const SpiffeId to, PartyOf(i, "to", rule.to()));
    if (!v1::PeerRule::Mode_IsValid(rule.mode())) {
      return absl::InvalidArgumentError(
          absl::StrCat("peer rule ", i, ": mode ", static_cast<int>(rule.mode()), " is unknown"));
    }
    if (rule.outbound() && from == self) Put(to, rule.mode(), &policy.outbound_);
    if (rule.inbound() && to == self) Put(from, rule.mode(), &policy.inbound_);
  }
  return policy;
}

PolicyAnswer PeerPolicy::Ask(Direction direction, const SpiffeId& peer) const {
  const auto& half = direction == Direction::kInbound ? inbound_ : outbound_;
  const auto it = half.find(peer);
  if (it == half.end()) return PolicyAnswer::kDenied;
  return it->second == v1::PeerRule::AUDIT ? PolicyAnswer::kAudited : PolicyAnswer::kAllowed;
}

std::vector<SpiffeId> PeerPolicy::Peers(Direction direction) const {
  std::vector<SpiffeId> peers;
  for (const auto& [peer, mode] : direction == Direction::kInbound ? inbound_ : outbound_) {
    peers.push_back(peer);
  }
  return peers;
}

std::vector<v1::PeerRule> PeerPolicy::rules(const SpiffeId& self) const {
  std::vector<v1::PeerRule> rules;
  for (const auto& [peer, mode] : outbound_) {
    v1::PeerRule& rule = rules.emplace_back();
    rule.set_from(self.ToString());
    rule.set_to(peer.ToString());
    rule.set_mode(mode);
    rule.set_outbound(true);
  }
  for (const auto& [peer, mode] : inbound_) {
    v1::PeerRule& rule = rules.emplace_back();
    rule.set_from(peer.ToString());
    rule.set_to(self.ToString());
    rule.set_mode(mode);
    rule.set_inbound(true);
  }
  return rules;
}

}  // namespace linchpin::trust
