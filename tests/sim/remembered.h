// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What OpenSSL made of the same bytes before: most of a story's time would go into decoding the
// same certificates and keys anew in each service of each node. Only what the bytes alone decide is
// remembered, so the story stays the same.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::sim {

// One thread only.
template <typename Value>
class Remembered {
 public:
  // `make` must be a function of `bytes` alone; a failure is not remembered.
  template <typename Make>
  absl::StatusOr<Value> Get(absl::string_view bytes, const Make& make) {
    std::string key(bytes);
    if (const auto it = known_.find(key); it != known_.end()) return it->second;
    absl::StatusOr<Value> made = make();
    if (made.ok()) Put(std::move(key), *made);
    return made;
  }

  bool Has(const std::string& bytes) const { return known_.contains(bytes); }
  void Put(std::string bytes, Value value) {
    if (known_.size() >= kMost) known_.clear();
    known_.emplace(std::move(bytes), std::move(value));
  }

 private:
  static constexpr size_t kMost = 1 << 15;
  std::unordered_map<std::string, Value> known_;
};

}  // namespace linchpin::sim
