// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What is denied although it validates: a SPIFFE ID (issued before an instant), a serial, a key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/spiffe_id.h"
#include "x509/certificate.h"

namespace linchpin::trust {

// Immutable.
class Revocations {
 public:
  static constexpr size_t kMaxEntries = 65536;

  Revocations() = default;
  // INVALID_ARGUMENT names the malformed entry. At most kMaxEntries.
  static absl::StatusOr<Revocations> FromMessages(std::vector<v1::Revocation> entries);

  // A sentence saying what denies the path (leaf first), or nothing. A key entry denies any
  // certificate of the path with that key; ID and serial entries look at the leaf.
  std::optional<std::string> Denies(const SpiffeId& leaf_id, const x509::Chain& path) const;
  bool DeniesKey(const x509::SpkiPin& pin) const { return by_key_.contains(pin.bytes()); }
  const std::vector<v1::Revocation>& entries() const { return entries_; }

 private:
  std::vector<v1::Revocation> entries_;  // sorted by their serialized bytes
  // Indices into entries_, so that a verdict costs the same however many there are.
  absl::flat_hash_map<std::string, size_t> by_id_;  // the latest issued_before of the ID
  absl::flat_hash_map<std::string, size_t> by_serial_;
  absl::flat_hash_map<std::string, size_t> by_key_;
};

}  // namespace linchpin::trust
