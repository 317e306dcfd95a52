// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The X509-SVID profile of a leaf
// (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md).
#pragma once

#include <optional>
#include <vector>

#include "trust/spiffe_id.h"
#include "trust/verdict.h"
#include "x509/certificate.h"

namespace linchpin::trust {

struct LeafCheck {
  std::optional<SpiffeId> id;     // of the only URI SAN, if it is a SPIFFE ID with a path
  std::vector<Finding> findings;  // empty: conforms
};

// Every rule that is broken, not just the first. A key or signature below 112 bits is a finding
// too.
LeafCheck CheckLeaf(const x509::Certificate& leaf);

}  // namespace linchpin::trust
