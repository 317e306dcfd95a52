// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/outstanding.h"

#include <algorithm>

namespace linchpin::ca {
namespace {

// More than gates allow clocks to differ.
constexpr absl::Duration kKeptExpired = absl::Minutes(5);

void Raise(std::map<std::string, absl::Time>* ends, const std::string& key, absl::Time to) {
  absl::Time& end = ends->try_emplace(key, absl::InfinitePast()).first->second;
  end = std::max(end, to);
}

absl::Time Find(const std::map<std::string, absl::Time>& ends, const std::string& key) {
  const auto it = ends.find(key);
  return it == ends.end() ? absl::InfinitePast() : it->second;
}

}  // namespace

void Outstanding::Issued(const std::string& node_id, const std::string& issuer_key_sha256,
                         absl::Time not_after) {
  if (!node_id.empty()) Raise(&of_node_, node_id, not_after);
  Raise(&under_issuer_, issuer_key_sha256, not_after);
}

void Outstanding::ForgetExpired(absl::Time now) {
  const auto expired = [now](const auto& entry) { return entry.second + kKeptExpired < now; };
  std::erase_if(of_node_, expired);
}

absl::Time Outstanding::OfNode(const std::string& node_id) const { return Find(of_node_, node_id); }

absl::Time Outstanding::UnderIssuer(const std::string& issuer_key_sha256) const {
  return Find(under_issuer_, issuer_key_sha256);
}

}  // namespace linchpin::ca
