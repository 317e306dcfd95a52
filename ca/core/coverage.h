// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Which trust each node holds and each of its consumers enforces, by the class of evidence. Current
// state only: what a node says may regress. Pure; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "linchpin/ca/v1/admin.pb.h"
#include "linchpin/ca/v1/node.pb.h"

namespace linchpin::ca {

// What one node has said of itself.
struct NodeHolds {
  absl::Time last_seen;
  uint64_t revision = 0;
  uint64_t trust_epoch = 0;
  uint64_t pin_set_version = 0;
  std::string refused;                            // why it does not take a newer trust state
  std::map<std::string, v1::Consumer> consumers;  // by consumer id
  bool too_many_consumers = false;                // some are not known here: never covered
};

class Coverage {
 public:
  static constexpr size_t kMaxConsumers = 4096;  // of a node
  static constexpr size_t kMaxText = 2048;       // of a name or sentence that a node sends

  void Hello(const std::string& node_id, const v1::Hello& hello, absl::Time now);
  void Ack(const std::string& node_id, const v1::Ack& ack, absl::Time now);
  void Seen(const std::string& node_id, absl::Time now);
  void Forget(const std::string& node_id) { nodes_.erase(node_id); }
  const NodeHolds* Find(const std::string& node_id) const;  // null: has said nothing yet

  // Does the node, with all its consumers, hold at least `epoch`? (node_id, epoch_held, consumers,
  // covered, refused and last_seen of the answer.)
  v1::NodeCoverage OfNode(const std::string& node_id, uint64_t epoch) const;

 private:
  std::map<std::string, NodeHolds> nodes_;
};

}  // namespace linchpin::ca
