// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/coverage.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "trust/text.h"
#include "trust/trust_acceptance.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMaxDigest = 64;

bool SaysTheSame(const v1::Consumer& one, const v1::Consumer& other) {
  return one.trust_epoch() == other.trust_epoch() && one.evidence() == other.evidence() &&
         one.trust_digest() == other.trust_digest();
}

// What it shows, if that is taken at its word.
uint64_t Shown(const ConsumerHolds& consumer, absl::Time now) {
  const v1::Consumer& said = consumer.said;
  if (said.evidence() == v1::NONE) return 0;
  if (said.evidence() != v1::DELIVERED || now >= consumer.since + Coverage::kSettling) {
    return said.trust_epoch();
  }
  return std::min(said.trust_epoch(), consumer.settled_epoch);
}

void AddConsumer(const v1::Consumer& consumer, absl::Time now, NodeHolds* node) {
  if (consumer.consumer_id().size() > Coverage::kMaxText ||
      consumer.spiffe_id().size() > Coverage::kMaxText || consumer.trust_digest().size() > 64) {
    node->too_many_consumers = true;
    return;
  }
  const auto it = node->consumers.find(consumer.consumer_id());
  if (it != node->consumers.end()) {
    ConsumerHolds& held = it->second;
    if (!SaysTheSame(held.said, consumer)) {
      // Of one that goes back nothing has settled: it spoke of another past.
      const bool back = consumer.trust_epoch() < held.said.trust_epoch();
      held.settled_epoch = back ? 0 : Shown(held, now);
      held.since = now;
    }
    held.said = consumer;
  } else if (node->consumers.size() < Coverage::kMaxConsumers) {
    node->consumers.emplace(consumer.consumer_id(),
                            ConsumerHolds{.said = consumer, .since = now, .settled_epoch = 0});
  } else {
    node->too_many_consumers = true;
  }
}

using Canaries = google::protobuf::RepeatedPtrField<trust::v1::CanaryVerdict>;

std::map<std::string, std::string> Judged(const Canaries& canaries) {
  std::map<std::string, std::string> judged;
  for (const trust::v1::CanaryVerdict& verdict : canaries) {
    if (verdict.issuer_key_sha256().size() != 32 || judged.size() >= Coverage::kMaxCanaries)
      continue;
    std::string why(trust::Beginning(verdict.why(), Coverage::kMaxText));
    if (!verdict.good() && why.empty()) why = "it does not say why";
    judged[verdict.issuer_key_sha256()] = verdict.good() ? "" : std::move(why);
  }
  return judged;
}

}  // namespace

void Coverage::Offers(const trust::v1::TrustState& offer) {
  epoch_offered_ = offer.epoch();
  digest_offered_ = trust::OfferDigest(offer);
  offers_[epoch_offered_] = digest_offered_;
  // A store that was read again may be an earlier one.
  offers_.erase(offers_.upper_bound(epoch_offered_), offers_.end());
  while (offers_.size() > kMaxOffers) offers_.erase(offers_.begin());
  trust::v1::PinSet set;
  const auto& sets = offer.pin_sets();
  if (!sets.empty()) set.ParseFromString(sets[sets.size() - 1].payload());
  pin_set_offered_ = set.version();
}

bool Coverage::HoldsWhatWasOffered(const NodeHolds& node) const {
  const auto it = offers_.find(node.trust_epoch);
  return it != offers_.end() && it->second == node.trust_digest;
}

void Coverage::Hello(const std::string& node_id, const v1::Hello& hello, absl::Time now) {
  NodeHolds node{.heard = true, .connected = true, .connected_since = now, .last_seen = now};
  node.revision = hello.revision();
  node.trust_epoch = hello.trust_epoch();
  node.trust_digest = hello.trust_digest().substr(0, kMaxDigest);
  node.pin_set_version = hello.pin_set_version();
  node.canaries = Judged(hello.canaries());
  // What had settled on the stream before need not settle again.
  NodeHolds& before = nodes_[node_id];
  node.foreign_until = before.foreign_until;
  SetPast(&node);
  node.consumers = std::move(before.consumers);
  std::set<std::string> named;
  for (const v1::Consumer& consumer : hello.consumers()) {
    named.insert(consumer.consumer_id());
    AddConsumer(consumer, now, &node);
  }
  std::erase_if(node.consumers, [&](const auto& entry) { return named.count(entry.first) == 0; });
  before = std::move(node);
}

void Coverage::Ack(const std::string& node_id, const v1::Ack& ack, absl::Time now) {
  NodeHolds& node = nodes_[node_id];
  node.heard = true;
  node.last_seen = now;
  node.revision = ack.revision();
  node.trust_epoch = ack.trust_epoch();
  node.trust_digest = ack.trust_digest().substr(0, kMaxDigest);
  SetPast(&node);
  node.pin_set_version = ack.pin_set_version();
  node.canaries = Judged(ack.canaries());
  node.refused = std::string(trust::Beginning(ack.refused(), kMaxText));
  node.relaxed_until = ack.relaxed_until();
  node.concerns.clear();
  for (int i = 0; i < std::min(ack.concerns_size(), kMaxConcerns); ++i) {
    node.concerns.emplace_back(trust::Beginning(ack.concerns(i), kMaxText));
  }
  for (const std::string& gone : ack.gone()) node.consumers.erase(gone);
  for (const v1::Consumer& consumer : ack.consumers()) AddConsumer(consumer, now, &node);
}

void Coverage::Sent(const std::string& node_id, uint64_t revision) {
  const auto it = nodes_.find(node_id);
  if (it != nodes_.end()) it->second.sent = revision;
}

void Coverage::Seen(const std::string& node_id, absl::Time now) {
  const auto it = nodes_.find(node_id);
  if (it != nodes_.end()) it->second.last_seen = now;
}

void Coverage::Gone(const std::string& node_id) {
  const auto it = nodes_.find(node_id);
  if (it != nodes_.end()) it->second.connected = false;
}

void Coverage::Recorded(const std::string& node_id, absl::Time last_seen) {
  NodeHolds& node = nodes_[node_id];
  if (!node.heard) node.last_seen = last_seen;
}

const NodeHolds* Coverage::Find(const std::string& node_id) const {
  const auto it = nodes_.find(node_id);
  return it == nodes_.end() ? nullptr : &it->second;
}

uint64_t Coverage::EpochOf(const NodeHolds& node, const ConsumerHolds& consumer,
                           absl::Time now) const {
  const uint64_t shown = Shown(consumer, now);
  return shown > node.foreign_until && offers_.count(shown) > 0 ? shown : 0;
}

// A node that takes what is offered here by a higher number keeps its services' rows; by the same
// or a lower one it has them count anew (agent/core).
void Coverage::SetPast(NodeHolds* node) const {
  if (!HoldsWhatWasOffered(*node)) {
    node->foreign_until = std::max(node->foreign_until, node->trust_epoch);
  } else if (node->trust_epoch <= node->foreign_until) {
    node->foreign_until = 0;
  }
}

uint64_t Coverage::CoveredEpoch(const std::string& node_id, absl::Time now) const {
  const NodeHolds* node = Find(node_id);
  if (node == nullptr || !node->heard || node->too_many_consumers) return 0;
  if (!HoldsWhatWasOffered(*node)) return 0;
  uint64_t covered = node->trust_epoch;
  for (const auto& [id, consumer] : node->consumers) {
    covered = std::min(covered, EpochOf(*node, consumer, now));
  }
  return covered;
}

}  // namespace linchpin::ca
