// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// PEM (RFC 7468) for this room's own types.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::x509 {

struct PemBlock {
  std::string label;  // an attacker's text
  std::string der;    // may be a secret: the caller wipes it
};

// All blocks of a text, in order; text around them is skipped. INVALID_ARGUMENT: none, a damaged or
// encrypted one (its position is named); RESOURCE_EXHAUSTED: more than `most`, or over 1 MiB.
absl::StatusOr<std::vector<PemBlock>> ReadPem(absl::string_view text, size_t most);

// Appends to `out`, which must have room for a secret that is to be wiped: see PemSize().
void AppendPem(absl::string_view label, absl::string_view der, std::string* out);
size_t PemSize(absl::string_view label, size_t der_size);

}  // namespace linchpin::x509
