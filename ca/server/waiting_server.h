// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a CA serves while it waits, at its first start, for certificates of a root that is kept
// offline: the admin socket alone, and there nothing but what is asked of that root and the import
// of what it made. Nodes are not listened to. Whatever else is called is FAILED_PRECONDITION and
// says what to run.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "ca/server/authority_setup.h"

namespace linchpin::ca {

struct WaitingParts {
  Store& store;
  KeyManager& keys;
  const base::Clock& clock;
};

class WaitingServer {
 public:
  // Serves when it returns. `imported` is called once, from any thread, when the store has been set
  // up; the answer about it is on its way then. `parts` outlive this.
  static absl::StatusOr<std::unique_ptr<WaitingServer>> Start(const std::string& admin_socket,
                                                              const AuthoritySetup& setup,
                                                              WaitingParts parts,
                                                              std::function<void()> imported);
  ~WaitingServer();  // lets answers go out first

  // What is waited for: a line for logs and /readyz.
  static std::string WaitsFor();

 private:
  struct Impl;
  explicit WaitingServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace linchpin::ca
