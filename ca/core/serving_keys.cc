// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/serving_keys.h"

#include <algorithm>
#include <utility>

namespace linchpin::ca {

x509::PublicKey ServingKeys::Made(x509::PrivateKey key) {
  if (made_.size() == kMost) made_.pop_front();
  made_.push_back(std::move(key));
  return made_.back().public_key();
}

bool ServingKeys::Use(const x509::Certificate& leaf) {
  const auto key = std::find_if(made_.begin(), made_.end(), [&](const x509::PrivateKey& one) {
    return one.public_key().pin() == leaf.public_key().pin();
  });
  if (key == made_.end()) return false;
  in_use_ = std::move(*key);
  made_.erase(made_.begin(), key + 1);
  return true;
}

}  // namespace linchpin::ca
