// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Says what a process on this node is, by what the kernel knows of it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::agent {

// The process at the other end of a connection when it connected.
struct PeerProcess {
  pid_t pid = -1;
  uid_t uid = 0;
  gid_t gid = 0;
  uint64_t start_time = 0;  // with the pid it names the process for ever
  // The very process still runs: not a zombie, not another with its pid.
  std::function<bool()> is_alive;
};

struct Attested {
  std::string process;                 // names this process and no other, also after its end
  std::vector<std::string> selectors;  // sorted
  // What else the selectors depend on, such as a pod; empty: nothing that changes by itself.
  std::string group;
};

// Safe for concurrent use. A new kind of attestation is a new implementation, named in main.cc.
class WorkloadAttestor {
 public:
  virtual ~WorkloadAttestor() = default;
  virtual absl::string_view Kind() const = 0;  // what its selectors begin with
  // May block on reading the program where `want_hash`. UNAUTHENTICATED: the process has ended, or
  // ended while it was looked at. What cannot be found out yields no selector.
  virtual absl::StatusOr<Attested> Attest(const PeerProcess& peer, bool want_hash) = 0;
  // The same, as far as it can be said without waiting for a file system or a directory service.
  // Null: ask Attest(), where one may wait.
  virtual std::optional<absl::StatusOr<Attested>> AttestAtOnce(const PeerProcess&, bool) {
    return std::nullopt;
  }
};

}  // namespace linchpin::agent
