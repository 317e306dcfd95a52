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
inline constexpr size_t kMaxTrustBytes = 16 * 1024 * 1024;

// The part of the registry that concerns one node.
struct Projection {
  std::map<std::string, ca::v1::NodeIdentity> identities;                    // by identity id
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
  // The revision of the change sent before on this stream (of the Hello for the first one), so that
  // a lost one is noticed. 0: not stated.
  uint64_t base_revision = 0;
};

// The messages that turn `from` into `to`, which may be the same slices of two projections: trust
// first (if given), each at most kMaxMessageBytes unless a single entry is larger, the last with
// `complete`. Empty change: one complete message that carries the revision.
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
  // `held` is the projection that the next difference applies to, `at` the stamp that it came with
  // (an empty incarnation: unknown, the first message decides).
  explicit Receiver(Projection held, Stamp at = {}) : held_(std::move(held)), at_(std::move(at)) {}

  // True when `message` completed a change, which Take() then hands over (and which becomes the
  // base of the next). INVALID_ARGUMENT, and the partial change forgotten: too many entries, a
  // malformed ID, another stamp or a missing part in the middle of a change. FAILED_PRECONDITION:
  // without `reset`, the revision goes back, changes another revision than the one held, or belongs
  // to another incarnation. After an error nothing more of that change is taken: ask anew (Hello).
  // A goodbye is none of a change's business: false.
  absl::StatusOr<bool> Add(const ca::v1::CaMessage& message);
  // Once after each true.
  Change Take();

 private:
  absl::Status Begin(const ca::v1::CaMessage& message);
  absl::Status CheckFollows(const ca::v1::CaMessage& message) const;
  absl::Status CheckContinues(const ca::v1::CaMessage& message) const;
  absl::Status AddEntries(const ca::v1::CaMessage& message);
  absl::Status AddTrust(const trust::v1::TrustState& part);

  Projection held_;
  Stamp at_;
  bool pending_ = false;
  uint32_t next_part_ = 0;
  size_t trust_bytes_ = 0;
  Change change_;
};

}  // namespace linchpin::sync
