// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How often a verdict was given: one entry for each reason, pair and direction.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "trust/judge.h"

namespace linchpin::tls {

struct VerdictKey {
  trust::Reason reason = trust::v1::VERDICT_REASON_UNSPECIFIED;  // unspecified: allowed
  std::string self_id;
  std::string peer_id;  // empty where the peer was not authenticated
  trust::Direction direction = trust::Direction::kInbound;

  bool operator<(const VerdictKey& other) const {
    return std::tie(reason, self_id, peer_id, direction) <
           std::tie(other.reason, other.self_id, other.peer_id, other.direction);
  }
};

class VerdictCounts {
 public:
  static constexpr size_t kMaxKeys = 1024;  // beyond it, peers are counted without a name
  // An agent takes 1024 entries and 256 KiB at once.
  static constexpr size_t kMostInReport = 512;
  static constexpr size_t kMostNameBytesInReport = 128 * 1024;

  void Add(VerdictKey key, uint64_t count) {
    if (by_key_.size() >= kMaxKeys && !by_key_.contains(key)) {
      key.self_id.clear();
      key.peer_id.clear();
    }
    by_key_[std::move(key)] += count;
  }
  void Add(const VerdictCounts& other) {
    for (const auto& [key, count] : other.by_key_) Add(key, count);
  }
  // Takes out as many as a report may hold: entries, and bytes of their names.
  VerdictCounts TakeReport() {
    VerdictCounts taken;
    size_t bytes = 0;
    while (!by_key_.empty() && taken.by_key_.size() < kMostInReport) {
      const VerdictKey& first = by_key_.begin()->first;
      bytes += first.self_id.size() + first.peer_id.size();
      if (bytes > kMostNameBytesInReport && !taken.empty()) break;
      taken.by_key_.insert(by_key_.extract(by_key_.begin()));
    }
    return taken;
  }
  bool empty() const { return by_key_.empty(); }
  const std::map<VerdictKey, uint64_t>& by_key() const { return by_key_; }

 private:
  std::map<VerdictKey, uint64_t> by_key_;
};

}  // namespace linchpin::tls
