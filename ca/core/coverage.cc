// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/coverage.h"

#include "trust/text.h"

namespace linchpin::ca {
namespace {

void AddConsumer(const v1::Consumer& consumer, NodeHolds* node) {
  if (consumer.consumer_id().size() > Coverage::kMaxText ||
      consumer.spiffe_id().size() > Coverage::kMaxText || consumer.trust_digest().size() > 64) {
    node->too_many_consumers = true;
    return;
  }
  const auto it = node->consumers.find(consumer.consumer_id());
  if (it != node->consumers.end()) {
    it->second = consumer;
  } else if (node->consumers.size() < Coverage::kMaxConsumers) {
    node->consumers.emplace(consumer.consumer_id(), consumer);
  } else {
    node->too_many_consumers = true;
  }
}

}  // namespace

void Coverage::Hello(const std::string& node_id, const v1::Hello& hello, absl::Time now) {
  NodeHolds node;
  node.last_seen = now;
  node.revision = hello.revision();
  node.trust_epoch = hello.trust_epoch();
  node.pin_set_version = hello.pin_set_version();
  for (const v1::Consumer& consumer : hello.consumers()) AddConsumer(consumer, &node);
  nodes_[node_id] = std::move(node);
}

void Coverage::Ack(const std::string& node_id, const v1::Ack& ack, absl::Time now) {
  NodeHolds& node = nodes_[node_id];
  node.last_seen = now;
  node.revision = ack.revision();
  node.trust_epoch = ack.trust_epoch();
  node.pin_set_version = ack.pin_set_version();
  node.refused = std::string(trust::Beginning(ack.refused(), kMaxText));
  for (const std::string& gone : ack.gone()) node.consumers.erase(gone);
  for (const v1::Consumer& consumer : ack.consumers()) AddConsumer(consumer, &node);
}

void Coverage::Seen(const std::string& node_id, absl::Time now) {
  const auto it = nodes_.find(node_id);
  if (it != nodes_.end()) it->second.last_seen = now;
}

const NodeHolds* Coverage::Find(const std::string& node_id) const {
  const auto it = nodes_.find(node_id);
  return it == nodes_.end() ? nullptr : &it->second;
}

v1::NodeCoverage Coverage::OfNode(const std::string& node_id, uint64_t epoch) const {
  v1::NodeCoverage answer;
  answer.set_node_id(node_id);
  const NodeHolds* node = Find(node_id);
  if (node == nullptr) return answer;
  answer.set_epoch_held(node->trust_epoch);
  answer.set_last_seen(absl::ToUnixSeconds(node->last_seen));
  answer.set_refused(node->refused);
  bool covered = node->trust_epoch >= epoch && !node->too_many_consumers;
  for (const auto& [id, consumer] : node->consumers) {
    *answer.add_consumers() = consumer;
    if (consumer.trust_epoch() < epoch || consumer.evidence() == v1::NONE) covered = false;
  }
  answer.set_covered(covered);
  return answer;
}

}  // namespace linchpin::ca
