// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The CA as a state machine without I/O, clock or threads. Two rules hold everywhere: the tables
// change only when a commit is known to be durable, and a certificate leaves only when the log has
// it (no Reply with a chain before Issued).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/random.h"
#include "ca/core/authorities.h"
#include "ca/core/coverage.h"
#include "ca/core/events.h"
#include "ca/core/profile.h"
#include "ca/core/registry.h"
#include "ca/core/sessions.h"

namespace linchpin::ca {

struct CoreOptions {
  Profile profile;                                   // lifetimes and backdating
  absl::Duration reattest_grace = absl::Hours(168);  // of an expired node certificate
};

// Not thread-safe.
class CaCore {
 public:
  static constexpr size_t kMaxQueued = 4096;     // changes that wait for their turn
  static constexpr size_t kMaxIssuing = 4096;    // calls whose certificates are being made
  static constexpr size_t kMaxIssueItems = 256;  // in a call
  static constexpr size_t kMaxSessions = 20000;

  // `listing` is everything in the store, with at least what FirstRecords() makes. DATA_LOSS names
  // the record that cannot be read. `random` must outlive the core.
  static absl::StatusOr<std::unique_ptr<CaCore>> Make(CoreOptions options,
                                                      const Store::Listing& listing,
                                                      base::Random& random);

  Actions Step(absl::Time now, Event event);

  // For metrics and tests.
  const Registry& registry() const { return registry_; }
  const Authorities& authorities() const { return authorities_; }
  size_t connected_nodes() const { return sessions_.size(); }
  bool idle() const;  // nothing is under way: a drained core may be destroyed
  // Why the CA cannot do its work now; empty if it can.
  std::string NotReady(absl::Time now) const;

 private:
  // A change, prepared against the tables as they are when its turn comes.
  struct Change {
    std::vector<Write> batch;  // empty: nothing to store, `then` runs at once
    absl::AnyInvocable<void(absl::Time, Actions*)> then;  // after the commit
  };
  using Prepare = absl::AnyInvocable<absl::StatusOr<Change>(absl::Time)>;
  struct Queued {
    std::optional<CallId> call;
    Prepare prepare;
  };
  struct UnderWay {
    Ticket ticket = 0;
    std::optional<CallId> call;
    Change change;
    absl::Status ambiguous;  // not OK: waits for Reloaded
  };
  using Done = absl::AnyInvocable<void(absl::Time, absl::StatusOr<std::vector<x509::Certificate>>,
                                       Actions*)>;

  CaCore(CoreOptions options, base::Random& random);
  absl::Status Load(const Store::Listing& listing);

  void On(absl::Time now, event::Started event, Actions* out);
  void On(absl::Time now, event::GetTrustAsked event, Actions* out);
  void On(absl::Time now, event::AttestAsked event, Actions* out);
  void On(absl::Time now, event::RenewAsked event, Actions* out);
  void On(absl::Time now, event::IssueAsked event, Actions* out);
  void On(absl::Time now, event::NodeHello event, Actions* out);
  void On(absl::Time now, event::NodeAck event, Actions* out);
  void On(absl::Time now, event::NodeVerdicts event, Actions* out);
  void On(absl::Time now, event::NodeGone event, Actions* out);
  void On(absl::Time now, event::AdminAsked event, Actions* out);
  void On(absl::Time now, event::Committed event, Actions* out);
  void On(absl::Time now, event::Issued event, Actions* out);
  void On(absl::Time now, event::Reloaded event, Actions* out);
  void On(absl::Time now, event::ServingKeyMade event, Actions* out);
  void On(absl::Time now, event::PossessionProved event, Actions* out);
  void On(absl::Time now, event::KeysSeen event, Actions* out);
  void On(absl::Time now, event::Tick event, Actions* out);
  void On(absl::Time now, event::Draining event, Actions* out);

  CoreOptions options_;
  base::Random& random_;
};

}  // namespace linchpin::ca
