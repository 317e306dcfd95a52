// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What the registry allowed at each of its revisions, what was revoked at each trust epoch, and
// which roots there were, as the store had it: the yardstick of the audit.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ca/core/registry.h"
#include "trust/revocation.h"

namespace linchpin::sim {

class History {
 public:
  using Pair = std::pair<std::string, std::string>;  // caller, callee

  void Record(const ca::Registry& registry);
  // The store was put back: trust epochs that there were come again, with other contents.
  void BeginLife();

  enum class Answer { kAlways, kNever, kSometimes };
  // Over all revisions from `a` to `b`, in either order.
  Answer Allowed(const Pair& pair, ca::Revision a, ca::Revision b) const;
  // Had this SPIFFE ID a registration at each revision from `since` on?
  bool RegisteredSince(const std::string& spiffe_id, ca::Revision since) const;
  // Was what belongs to this chain revoked, over all trust epochs from `a` to `b`?
  Answer Revoked(const trust::SpiffeId& id, const x509::Chain& chain, uint64_t a, uint64_t b) const;
  // Was this the pin of a root of the CA?
  bool WasRoot(const std::string& pin) const { return roots_.contains(pin); }
  ca::Revision head() const { return states_.empty() ? 0 : states_.rbegin()->first; }

 private:
  struct State {
    std::set<Pair> allowed;
    std::set<std::string> registered;  // SPIFFE IDs
  };
  std::map<ca::Revision, State> states_;
  using Epochs = std::map<uint64_t, trust::Revocations>;
  Epochs revocations_;           // by trust epoch
  std::vector<Epochs> pasts_;    // the same, of lives of the store before this one
  std::set<std::string> roots_;  // pins
};

}  // namespace linchpin::sim
