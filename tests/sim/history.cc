// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/history.h"

#include <algorithm>
#include <iterator>

namespace linchpin::sim {

void History::Record(const ca::Registry& registry) {
  State& state = states_[registry.revision()];
  for (const auto& [pair, row] : registry.rules()) {
    if (row.record.rule().outbound() && row.record.rule().inbound()) state.allowed.insert(pair);
  }
  for (const auto& [id, row] : registry.identities()) state.identities.insert(id);
}

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

bool History::Registered(const std::string& identity_id, ca::Revision at) const {
  auto it = states_.upper_bound(at);
  if (it == states_.begin()) return false;
  return std::prev(it)->second.identities.contains(identity_id);
}

}  // namespace linchpin::sim
