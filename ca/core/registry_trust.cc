// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The tables of and beside the trust state: authorities, epochs, who was seen, what is revoked.

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "ca/core/registry.h"

namespace linchpin::ca {

std::string AuthorityKey(bool is_root, absl::string_view pin_bytes) {
  return absl::StrCat(kAuthorityPrefix, is_root ? "root/" : "issuer/",
                      absl::BytesToHexString(pin_bytes));
}

std::string AwaitedKey(absl::string_view pin_bytes) {
  return absl::StrCat(kAwaitedPrefix, absl::BytesToHexString(pin_bytes));
}

std::string EpochKey(uint64_t epoch) {
  return absl::StrCat(kEpochPrefix, absl::Dec(epoch, absl::kZeroPad20));
}

std::string SeenKey(absl::string_view node_id) {
  return absl::StrCat(kSeenPrefix, node_id.substr(node_id.rfind('/') + 1));
}

void Registry::IndexRevocations() {
  denied_until_.clear();
  for (const auto& [key, row] : revocations_) {
    for (const trust::v1::Revocation& entry : row.record.revocations()) {
      if (!entry.has_spiffe_id()) continue;
      int64_t& until = denied_until_[entry.spiffe_id()];
      until = std::max(until, entry.issued_before());
    }
  }
}

absl::Time Registry::DeniedUntil(const std::string& spiffe_id) const {
  const auto it = denied_until_.find(spiffe_id);
  return it == denied_until_.end() ? absl::InfinitePast() : absl::FromUnixSeconds(it->second);
}

}  // namespace linchpin::ca
