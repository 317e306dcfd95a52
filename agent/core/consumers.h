// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The processes that are served, what each was given and what each says it enforces.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "agent/core/events.h"
#include "agent/core/registrations.h"
#include "trust/peer_policy.h"
#include "trust/spiffe_id.h"

namespace linchpin::agent {

struct Consumer {
  ProcessId process;
  Selectors selectors;
  bool open = true;  // false: the stream ended, the process lives on with what it has
  std::shared_ptr<const agent::v1::MtlsContexts> delivered;  // last; null: nothing yet
  // What was delivered lately, as (epoch, digest): what a report may speak of.
  std::deque<std::pair<uint64_t, std::string>> deliveries;
  std::vector<std::pair<std::string, std::string>> identities;  // in use: identity id, ID
  std::map<trust::SpiffeId, trust::PeerPolicy> policies;        // of the identities delivered last
  absl::Time expires_at = absl::InfinitePast();                 // of the last leaf delivered
  bool reported = false;
  uint64_t epoch = 0;  // in force, by its report
  std::string digest;
};

class ConsumerTable {
 public:
  static constexpr size_t kMaxConsumers = 20000;
  static constexpr size_t kMaxDeliveries = 16;

  // These identities (identity id, ID) were served before this program began: until `settled`, or
  // until a service comes back for it, each counts as a consumer that nothing is known of.
  void Restarted(std::map<std::string, std::string> identities, absl::Time settled);
  void SettleBy(absl::Time latest) { settled_ = std::min(settled_, latest); }

  // RESOURCE_EXHAUSTED with kMaxConsumers.
  absl::Status Open(const event::ConsumerOpened& event);
  Consumer* Find(const ConsumerId& id);
  // One to which nothing was delivered goes; another stays until its process or its leaf ends, or
  // until the same process is served again.
  void Close(const ConsumerId& id);
  void Exited(const ProcessId& process);
  void ForgetExpired(absl::Time now);
  absl::Time NextExpiry() const;  // of those whose stream ended, or have not come back
  void Delivered(const ConsumerId& id, std::shared_ptr<const agent::v1::MtlsContexts> contexts,
                 std::vector<std::pair<std::string, std::string>> identities);
  // FAILED_PRECONDITION: speaks of what was not delivered; NOT_FOUND: of no open stream.
  absl::Status Check(const agent::v1::ReportRequest& report) const;
  void Reported(const agent::v1::ReportRequest& report);  // one that passed Check()

  const std::map<ConsumerId, Consumer>& all() const { return consumers_; }
  std::map<ConsumerId, Consumer>& all() { return consumers_; }
  size_t open() const;
  // One row a consumer and identity, by the name under which the CA knows it.
  std::map<std::string, ca::v1::Consumer> Rows() const;

 private:
  std::map<ConsumerId, Consumer> consumers_;
  std::map<std::string, std::string> missing_;  // identity id, ID: served before a restart
  absl::Time settled_ = absl::InfiniteFuture();
};

}  // namespace linchpin::agent
