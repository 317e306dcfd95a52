// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What one node is sent of the registry, and how it travels: projection, differences, snapshots.
// Pure; both ends of Sync use it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "linchpin/ca/v1/node.pb.h"
#include "linchpin/trust/v1/trust.pb.h"

namespace linchpin::sync {

// At most this many bytes a message.
inline constexpr size_t kMaxMessageBytes = 64 * 1024;
// What a node may hold at most; a CA that sends more is refused.
inline constexpr size_t kMaxIdentities = 20000;
inline constexpr size_t kMaxRules = 200000;

// The part of the registry that concerns one node.
struct Projection {
  std::map<std::string, ca::v1::NodeIdentity> identities;  // by identity id
  std::map<std::pair<std::string, std::string>, trust::v1::PeerRule> rules;  // by (from, to)

  // Equal digests: the node holds what it should, whatever the revision says.
  std::string Digest() const;
};

// Where a node stands: what it is known to hold.
struct Cursor {
  std::string incarnation;
  uint64_t revision = 0;
  uint64_t trust_epoch = 0;
};

// What is to be said at a revision.
struct Stamp {
  std::string incarnation;
  uint64_t revision = 0;
  int64_t ca_time = 0;
};

// The messages that turn `from` into `to`: trust first (if given), each at most kMaxMessageBytes,
// the last with `complete`. Empty change: one complete message that carries the revision.
std::vector<ca::v1::CaMessage> Difference(const Projection& from, const Projection& to,
                                          const trust::v1::TrustState* trust, const Stamp& stamp);
// The same as a snapshot that replaces (`reset`).
std::vector<ca::v1::CaMessage> Snapshot(const Projection& to, const trust::v1::TrustState* trust,
                                        const Stamp& stamp);

// Collects the messages of one change and applies them together.
class Receiver {
 public:
  struct Change {
    Projection projection;
    Stamp stamp;
    bool has_trust = false;
    trust::v1::TrustState trust;
  };
  // `held` is the projection that the next difference applies to.
  explicit Receiver(Projection held) : held_(std::move(held)) {}

  // True when `message` completed a change, which Take() then hands over (and which becomes the base
  // of the next). INVALID_ARGUMENT, and the partial change forgotten: too many entries, a malformed
  // ID, another stamp in the middle of a change. FAILED_PRECONDITION: the revision goes back without
  // `reset`.
  absl::StatusOr<bool> Add(const ca::v1::CaMessage& message);
  Change Take();

 private:
  absl::Status AddToPending(const ca::v1::CaMessage& message);
  Projection held_;
  bool pending_ = false;
  uint64_t revision_ = 0;
  std::string incarnation_;
  Change change_;
};

}  // namespace linchpin::sync
