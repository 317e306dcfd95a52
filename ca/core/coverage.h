// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Which trust each node holds and each of its consumers enforces, by the class of evidence. Current
// state only: what a node says may regress. Pure; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "linchpin/ca/v1/admin.pb.h"
#include "linchpin/ca/v1/node.pb.h"

namespace linchpin::ca {

// What one service of a node enforces.
struct ConsumerHolds {
  v1::Consumer said;
  absl::Time since;            // of this epoch and evidence
  uint64_t settled_epoch = 0;  // of DELIVERED: what had settled before
};

// What one node has said of itself.
struct NodeHolds {
  bool heard = false;      // since this CA started
  bool connected = false;  // has a stream now
  absl::Time connected_since = absl::InfinitePast();
  absl::Time last_seen = absl::InfinitePast();
  uint64_t revision = 0;
  uint64_t trust_epoch = 0;
  uint64_t pin_set_version = 0;
  std::string refused;                             // why it does not take a newer trust state
  int64_t relaxed_until = 0;                       // of its pins
  std::vector<std::string> concerns;               // about them
  std::map<std::string, std::string> canaries;     // by issuer's pin: why it is refused, or empty
  std::map<std::string, ConsumerHolds> consumers;  // by consumer id
  bool too_many_consumers = false;                 // some are not known here: never covered
};

class Coverage {
 public:
  static constexpr size_t kMaxConsumers = 4096;  // of a node
  static constexpr int kMaxConcerns = 5;         // of a node
  static constexpr size_t kMaxText = 2048;       // of a name or sentence that a node sends
  static constexpr size_t kMaxCanaries = 16;     // of a node
  // What was only delivered is assumed to be in use after this.
  static constexpr absl::Duration kSettling = absl::Seconds(5);

  void Hello(const std::string& node_id, const v1::Hello& hello, absl::Time now);
  void Ack(const std::string& node_id, const v1::Ack& ack, absl::Time now);
  void Seen(const std::string& node_id, absl::Time now);
  void Gone(const std::string& node_id);  // its stream has ended
  void Forget(const std::string& node_id) { nodes_.erase(node_id); }
  // What was stored of a node before this CA started: nothing that a gate could go by.
  void Recorded(const std::string& node_id, absl::Time last_seen);
  const std::map<std::string, NodeHolds>& nodes() const { return nodes_; }  // by node id
  const NodeHolds* Find(const std::string& node_id) const;  // null: has said nothing yet

  // The epoch that a consumer enforces as far as there is evidence; 0: there is none.
  static uint64_t EpochOf(const ConsumerHolds& consumer, absl::Time now);
  // The newest epoch that the node, with all its consumers, is shown to hold; 0: none.
  uint64_t CoveredEpoch(const std::string& node_id, absl::Time now) const;

 private:
  std::map<std::string, NodeHolds> nodes_;
};

}  // namespace linchpin::ca
