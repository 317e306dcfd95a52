// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/registrations.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace linchpin::agent {

Registrations::Registrations(std::shared_ptr<const sync::Projection> projection)
    : projection_(std::move(projection)) {
  for (const auto& [id, identity] : projection_->identities) {
    if (identity.selectors_size() > 0) by_selector_[identity.selectors(0)].push_back(&identity);
  }
  for (const auto& [pair, rule] : projection_->rules) {
    rules_[rule.from()].push_back(&rule);
    if (rule.to() != rule.from()) rules_[rule.to()].push_back(&rule);
  }
}

std::vector<const ca::v1::NodeIdentity*> Registrations::Match(const Selectors& selectors) const {
  std::vector<const ca::v1::NodeIdentity*> matches;
  for (const std::string& selector : selectors) {
    const auto it = by_selector_.find(selector);
    if (it == by_selector_.end()) continue;
    for (const ca::v1::NodeIdentity* identity : it->second) {
      const auto& needed = identity->selectors();
      if (std::all_of(needed.begin(), needed.end(),
                      [&](const std::string& one) { return selectors.contains(one); })) {
        matches.push_back(identity);
      }
    }
  }
  std::sort(matches.begin(), matches.end(), [](const auto* a, const auto* b) {
    return std::make_tuple(a->order(), a->identity_id()) <
           std::make_tuple(b->order(), b->identity_id());
  });
  std::set<std::string> seen;
  std::erase_if(matches, [&](const auto* one) { return !seen.insert(one->spiffe_id()).second; });
  return matches;
}

bool Registrations::SameCertificate(const ca::v1::NodeIdentity& a, const ca::v1::NodeIdentity& b) {
  return a.ttl_seconds() == b.ttl_seconds() &&
         std::equal(a.dns_names().begin(), a.dns_names().end(), b.dns_names().begin(),
                    b.dns_names().end());
}

const ca::v1::NodeIdentity* Registrations::Find(const std::string& identity_id) const {
  const auto it = projection_->identities.find(identity_id);
  return it == projection_->identities.end() ? nullptr : &it->second;
}

std::vector<trust::v1::PeerRule> Registrations::RulesOf(const std::string& spiffe_id) const {
  std::vector<trust::v1::PeerRule> rules;
  const auto it = rules_.find(spiffe_id);
  if (it == rules_.end()) return rules;
  for (const trust::v1::PeerRule* rule : it->second) rules.push_back(*rule);
  return rules;
}

}  // namespace linchpin::agent
