// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What the agent is told at its start. Plain values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/spiffe_id.h"
#include "x509/spki_pin.h"

namespace linchpin::agent {

struct CoreOptions {
  trust::TrustDomain trust_domain;
  // First contact: one of the two. A node that is attested needs `ca_pins` only if it was away
  // while issuers changed and holds no signed pin set.
  std::vector<x509::SpkiPin> ca_pins;
  std::optional<trust::v1::SignersFile> signers;
  std::string version;                      // of this program
  std::string boot_id = {};                 // of the kernel; empty: not known
  absl::Duration skew = absl::Seconds(60);  // allowance on NotBefore
  bool renewals = true;                     // false: certificates run out
};

}  // namespace linchpin::agent
