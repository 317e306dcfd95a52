// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What the registry allowed at each of its revisions, as the store had it: the yardstick of the
// audit.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "ca/core/registry.h"

namespace linchpin::sim {

class History {
 public:
  using Pair = std::pair<std::string, std::string>;  // caller, callee

  void Record(const ca::Registry& registry);

  enum class Answer { kAlways, kNever, kSometimes };
  // Over all revisions from `a` to `b`, in either order.
  Answer Allowed(const Pair& pair, ca::Revision a, ca::Revision b) const;
  bool Registered(const std::string& identity_id, ca::Revision at) const;
  ca::Revision head() const { return states_.empty() ? 0 : states_.rbegin()->first; }

 private:
  struct State {
    std::set<Pair> allowed;
    std::set<std::string> identities;
  };
  std::map<ca::Revision, State> states_;
};

}  // namespace linchpin::sim
