// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Processes that hold certificates of this agent, across its restarts: who is worth sealing, and
// who is waited for afterwards. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "agent/core/events.h"
#include "linchpin/state/v1/agent_state.pb.h"

namespace linchpin::agent {

struct ServedProcess {
  std::map<std::string, std::string> identities;  // identity id, SPIFFE ID
  absl::Time expires_at = absl::InfinitePast();   // of its newest leaf

  bool operator==(const ServedProcess&) const = default;
};
using ServedProcesses = std::map<ProcessId, ServedProcess>;

inline constexpr size_t kMaxServedSealed = 1024;            // processes
inline constexpr size_t kMaxServedIdentitiesSealed = 8192;  // of all of them

// What is beyond the limits is left out, and so is what makes no sense where it is read: for the
// identities in it there is the wait for all.
state::v1::ServedProcesses EncodeServed(const ServedProcesses& served, const std::string& boot_id);
ServedProcesses DecodeServed(const state::v1::ServedProcesses& sealed);

// Who is in the list that is sealed. Only who comes is worth a write, and only once he has stayed
// for a while: whoever calls and ends is none, and those who come together are one.
class ServedList {
 public:
  static constexpr absl::Duration kStays = absl::Seconds(1);       // also between two writes
  static constexpr absl::Duration kWhileFull = absl::Seconds(10);  // until the next look

  void Restore(const ServedProcesses& alive);
  void Served(const ProcessId& process,
              const std::vector<std::pair<std::string, std::string>>& identities);
  void Exited(const ProcessId& process);
  // `now` may have gone back. True: somebody has joined the list.
  bool Look(absl::Time now, absl::FunctionRef<ServedProcess(const ProcessId&)> served);
  absl::Time NextLook() const { return look_at_; }
  void ClockSetBack(absl::Time now);
  const std::map<ProcessId, std::set<std::string>>& listed() const { return listed_; }

 private:
  std::map<ProcessId, std::set<std::string>> listed_;  // and the identities it has there
  std::set<ProcessId> arrived_;                        // since the last look
  std::map<ProcessId, absl::Time> fresh_;              // since when
  absl::Time look_at_ = absl::InfiniteFuture();
};

// After a restart of the agent: identities that were served before, to how many processes is not
// known, and of those processes the ones that are known to live.
class ServedBefore {
 public:
  struct Identity {
    std::string spiffe_id;
    absl::Time expires_at;
  };
  void Begin(std::map<std::string, Identity> identities, ServedProcesses alive, absl::Time settled);
  void SettleBy(absl::Time latest);
  // It has come back, or has ended. False: nobody waited for it.
  bool End(const ProcessId& process);
  // `agreed` is what both clocks have come to. True: something has gone.
  bool Forget(absl::Time now, absl::Time agreed);
  absl::Time NextExpiry() const;                         // by `agreed`
  absl::Time NextSettling() const;                       // by `now`
  std::map<std::string, std::string> WaitedFor() const;  // identity id, SPIFFE ID
  const ServedProcess* Find(const ProcessId& process) const;
  // Who has not come back in time; told once.
  std::vector<ProcessId> TakeLate(absl::Time now);

 private:
  std::map<std::string, Identity> identities_;  // until settled
  ServedProcesses alive_;
  absl::Time settled_ = absl::InfiniteFuture();
  bool told_ = true;
};

}  // namespace linchpin::agent
