// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Which registrations a process matches, and which peers an identity may talk to.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sync/projection.h"

namespace linchpin::agent {

using Selectors = std::set<std::string>;

// An index over one projection, which it keeps alive. Immutable.
class Registrations {
 public:
  explicit Registrations(std::shared_ptr<const sync::Projection> projection);

  // Those of whose selectors the process has every one, in registration order; of several with one
  // SPIFFE ID the first. A registration without selectors matches nobody.
  std::vector<const ca::v1::NodeIdentity*> Match(const Selectors& selectors) const;
  // Both ask for the same lifetime and DNS names.
  static bool SameCertificate(const ca::v1::NodeIdentity& a, const ca::v1::NodeIdentity& b);
  const ca::v1::NodeIdentity* Find(const std::string& identity_id) const;
  // The rules that name the ID as either end.
  std::vector<trust::v1::PeerRule> RulesOf(const std::string& spiffe_id) const;
  const std::shared_ptr<const sync::Projection>& projection() const { return projection_; }

 private:
  std::shared_ptr<const sync::Projection> projection_;
  std::map<std::string, std::vector<const ca::v1::NodeIdentity*>> by_selector_;  // its first one
  std::map<std::string, std::vector<const trust::v1::PeerRule*>> rules_;
};

}  // namespace linchpin::agent
