// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Until when certificates that were issued are valid: by the node that asked for them, and by the
// issuer that signed them. Filled from the issuance log at a start, then by each order, so that no
// certificate needs a record of its own. Never too early: an order that fails counts as issued.
// Pure; one thread.
#pragma once

#include <map>
#include <string>

#include "absl/time/time.h"

namespace linchpin::ca {

class Outstanding {
 public:
  // `node_id` is empty for the CA's own.
  void Issued(const std::string& node_id, const std::string& issuer_key_sha256,
              absl::Time not_after);
  // Of nodes, long enough after they expired that they have by everybody's clock. Of the few
  // issuers nothing is forgotten: a clock that jumps ahead and comes back must not make an issuer
  // seem drained.
  void ForgetExpired(absl::Time now);

  // When the last of them expires; the infinite past if none is left.
  absl::Time OfNode(const std::string& node_id) const;
  absl::Time UnderIssuer(const std::string& issuer_key_sha256) const;

 private:
  using Ends = std::map<std::string, absl::Time>;
  Ends of_node_;
  Ends under_issuer_;  // by pin
};

}  // namespace linchpin::ca
