// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The processes that are served, what each was given and what each says it enforces.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "agent/core/events.h"
#include "agent/core/registrations.h"
#include "agent/core/served_processes.h"
#include "trust/peer_policy.h"
#include "trust/spiffe_id.h"

namespace linchpin::agent {

// What a consumer was told last. Not the message itself: that holds its keys.
struct Delivered {
  uint64_t epoch = 0;
  std::string trust_digest;
  std::string policy_digest;  // of the rules alone, of all identities together
  std::string contents;  // digest of the identities (without keys), their order, and the selectors
  bool has_identities = false;
  std::string unavailable;  // why it has none yet

  bool operator==(const Delivered&) const = default;
};

struct Consumer {
  ProcessId process;
  const Selectors* selectors = nullptr;  // of the table; null when the stream has ended
  bool open = true;  // false: the stream ended, the process lives on with what it has
  std::optional<Delivered> delivered;
  // What was delivered lately: what a report may speak of.
  struct Delivery {
    uint64_t epoch = 0;
    std::string digest;
    std::string policy_digest;
    bool of_before = false;  // of another count of epochs: it shows none of this one
  };
  std::vector<Delivery> deliveries;
  std::vector<std::pair<std::string, std::string>> identities;  // in use: identity id, ID
  std::map<trust::SpiffeId, trust::PeerPolicy> policies;        // of the identities delivered last
  absl::Time expires_at = absl::InfinitePast();                 // of the last leaf delivered
  ca::v1::Evidence evidence = ca::v1::IN_FORCE;                 // once there is any
  std::string carries;                                          // of event::ConsumerHolds
  bool came_back = false;  // took the place of one that its process had before
  bool ending = false;     // its stream: another one is to begin
  bool shown = false;
  uint64_t epoch = 0;         // shown by that evidence
  std::string policy_digest;  // likewise

  void Show(uint64_t shown_epoch, const std::string& shown_policy) {
    shown = true;
    epoch = shown_epoch;
    policy_digest = shown_policy;
  }
};

class ConsumerTable {
 public:
  static constexpr size_t kMaxConsumers = 20000;  // open ones, and as many that ended
  static constexpr size_t kMaxDeliveries = 16;
  static constexpr size_t kMaxEnded = 64;  // streams of a process that are over and still count

  // These identities (by identity id) were served before this program began, to how many processes
  // is not known: each counts as a consumer that nothing is known of, until `settled`, until those
  // of its processes that are known to be `alive` have come back or ended, and no longer than what
  // was served is valid.
  using Before = ServedBefore::Identity;
  void Restarted(std::map<std::string, Before> identities, absl::Time settled,
                 ServedProcesses alive = {});
  void ClockSetBack(absl::Time now, absl::Time settled);
  // Of those alive: who had not come back when that was settled. Told once.
  std::vector<ProcessId> TakeLate(absl::Time now) { return before_.TakeLate(now); }

  // True: what Served() says is worth sealing now.
  bool Look(absl::Time now);
  absl::Time NextLook() const { return list_.NextLook(); }
  ServedProcesses Served() const;

  // RESOURCE_EXHAUSTED with kMaxConsumers that are open.
  absl::Status Open(const event::ConsumerOpened& event);
  Consumer* Find(const ConsumerId& id);
  // One that holds no trust (NONE) has no rows, and stands in for nobody who had.
  void Holds(const event::ConsumerHolds& event);
  void Select(Consumer* consumer, const std::vector<std::string>& selectors);
  // One to which nothing was delivered, or no trust, goes; another stays until its process or its
  // leaf ends, or until the same process opens another that carries the same: one for one, since
  // what the others hold is still there.
  void Close(const ConsumerId& id);
  // What wrote files (RELOADED) is not what reads them: those count on until their leaf expires, or
  // until another has seen them read.
  void Exited(const ProcessId& process);
  // `agreed` is what both clocks have come to: where this node's is ahead for a while, processes go
  // on with leaves that others still take.
  void ForgetExpired(absl::Time now, absl::Time agreed);
  // Of those whose stream ended: not before this is agreed.
  absl::Time NextExpiry() const { return soonest_; }
  // Of those that have not come back: at this.
  absl::Time NextSettling() const { return before_.NextSettling(); }
  // `identities` go on until `expires_at`; none: the process goes on with what it has.
  void Deliver(const ConsumerId& id, Delivered delivered,
               std::vector<std::pair<std::string, std::string>> identities, absl::Time expires_at);
  // Epochs count something else from now on: what was delivered before shows none of them.
  void CountAnew();
  // Just this was delivered to it of another count of epochs. What it says of it may be of then,
  // and of now it need say nothing: only of another stream can it be told.
  static bool WasToldBefore(const Consumer& consumer, const Delivered& next);
  // FAILED_PRECONDITION: speaks of what was not delivered; NOT_FOUND: of no open stream.
  absl::Status Check(const agent::v1::ReportRequest& report) const;
  void Reported(const agent::v1::ReportRequest& report);  // one that passed Check()

  const std::map<ConsumerId, Consumer>& all() const { return consumers_; }
  size_t open() const { return open_; }
  // Of the open streams, each once. A change of them is a change of the version.
  const std::map<Selectors, size_t>& selectors() const { return selectors_; }
  uint64_t selectors_version() const { return selectors_version_; }

  // One row a process and identity, by the name under which the CA knows it: "process/identity". It
  // says the least that any of the process's streams shows: the lowest epoch, the weakest evidence,
  // and of one epoch the rules that are not what they were told last.
  using Rows = std::map<std::string, ca::v1::Consumer>;
  Rows RowsOf(const ProcessId& process) const;
  // Whose rows may have changed since they were taken last; ended ones too.
  std::set<ProcessId> TakeTouched();
  bool touched() const { return !touched_.empty(); }
  void TouchAll();

 private:
  using Entry = std::map<ConsumerId, Consumer>::iterator;
  const Selectors* Keep(const std::vector<std::string>& selectors);
  void LetGo(const Selectors* selectors);
  ServedProcess ServedTo(const ProcessId& process) const;
  void EndBefore(const ProcessId& process);
  void CameBack(Consumer* consumer);
  static const Consumer::Delivery* Find(const Consumer& consumer,
                                        const agent::v1::ReportRequest& report);
  using EndedOf = std::vector<Entry>;
  EndedOf Ended(const ProcessId& process);
  // Which of them it is that has been replaced is not known: those that are left say the least.
  void EraseNewest(const EndedOf& ended);
  void Touch(const Consumer& consumer) { touched_.insert(consumer.process); }
  void Erase(Entry entry);
  void End(Entry entry);
  void Leave(Entry entry);  // its process's list
  void MayExpire(absl::Time at) { soonest_ = std::min(soonest_, at); }

  std::map<ConsumerId, Consumer> consumers_;
  std::map<ProcessId, std::set<ConsumerId>> of_process_;
  std::map<Selectors, size_t> selectors_;  // how many open streams have them
  uint64_t selectors_version_ = 0;
  size_t open_ = 0;
  std::set<ProcessId> touched_;
  ServedBefore before_;
  ServedList list_;
  absl::Time soonest_ = absl::InfiniteFuture();
};

}  // namespace linchpin::agent
