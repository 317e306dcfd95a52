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
#include "linchpin/trust/v1/trust.pb.h"

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
  uint64_t sent = 0;  // the last revision of which anything concerned it
  uint64_t trust_epoch = 0;
  std::string trust_digest;  // of what it was offered as that epoch
  // It held this epoch, but not as it was offered here: what its services show until then may be of
  // that other past. 0: it never did, or went back to what is offered here, and they count anew.
  uint64_t foreign_until = 0;
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
  static constexpr size_t kMaxOffers = 256;      // that nodes may still speak of
  // What was only delivered is assumed to be in use after this.
  static constexpr absl::Duration kSettling = absl::Seconds(5);

  // This is what nodes are told from now on, or again. Whoever holds an epoch by another digest
  // holds what another store's life made of it, and not the epoch.
  void Offers(const trust::v1::TrustState& offer);
  // Of the trust state that is offered now: what a node says that holds it.
  const std::string& digest_offered() const { return digest_offered_; }
  uint64_t epoch_offered() const { return epoch_offered_; }
  uint64_t pin_set_offered() const { return pin_set_offered_; }

  void Hello(const std::string& node_id, const v1::Hello& hello, absl::Time now);
  void Ack(const std::string& node_id, const v1::Ack& ack, absl::Time now);
  void Sent(const std::string& node_id, uint64_t revision);  // after Hello
  void Seen(const std::string& node_id, absl::Time now);
  void Gone(const std::string& node_id);  // its stream has ended
  void Forget(const std::string& node_id) { nodes_.erase(node_id); }
  // What was stored of a node before this CA started: nothing that a gate could go by.
  void Recorded(const std::string& node_id, absl::Time last_seen);
  const std::map<std::string, NodeHolds>& nodes() const { return nodes_; }  // by node id
  const NodeHolds* Find(const std::string& node_id) const;  // null: has said nothing yet

  // The epoch that a consumer of the node enforces as far as there is evidence; 0: there is none,
  // or the epoch is none that was offered here, since this CA started.
  uint64_t EpochOf(const NodeHolds& node, const ConsumerHolds& consumer, absl::Time now) const;
  // Does the node hold an epoch that was offered here, as it was offered?
  bool HoldsWhatWasOffered(const NodeHolds& node) const;
  // The newest epoch that the node, with all its consumers, is shown to hold; 0: none.
  uint64_t CoveredEpoch(const std::string& node_id, absl::Time now) const;

 private:
  void SetPast(NodeHolds* node) const;

  std::map<uint64_t, std::string> offers_;  // digests by epoch, as they were offered last
  std::string digest_offered_;
  uint64_t epoch_offered_ = 0, pin_set_offered_ = 0;
  std::map<std::string, NodeHolds> nodes_;
};

}  // namespace linchpin::ca
