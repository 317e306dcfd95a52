// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What linchpin-bench-load can do: one function a subcommand. Each runs rounds as long as the
// measurer wants them (protocol.h) and returns what kept it from going on.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/bench/load/raw_call.h"

namespace linchpin::bench {

// Certificates: `callers` nodes, each of which asks for `calls` times `batch` a round, one call
// after the other. Keys and requests are made before the round.
struct IssueLoad {
  std::string admin_socket;
  std::string ca;  // HOST:PORT
  int callers = 1;
  int batch = 64;
  int calls = 32;
};
absl::Status RunIssueLoad(const IssueLoad& load);

// First answers: `count` calls a round, one after the other, each on a new connection.
struct CallLoad {
  std::string socket;
  RawRequest request{.path = "/linchpin.agent.v1.MtlsContextService/Watch"};
  size_t least = 1;  // bytes of the first answer; fewer are an error
  int count = 1000;
};
absl::Status RunCallLoad(const CallLoad& load);
// The same on one connection, each call cancelled before the next.
absl::Status RunKeptLoad(const CallLoad& load);
// The same number of calls at once, each on a connection of its own: opened before the round, and
// closed by it.
absl::Status RunHoldLoad(const CallLoad& load);

// A program, from its start to its first answer; killed then.
struct StartLoad {
  CallLoad call;
  std::vector<std::string> program;
};
absl::Status RunStartLoad(const StartLoad& load);

// One service of an agent: an identity is created at the CA until the service holds its
// certificate, and deleted until it is told so, `count` times a round.
struct IdentityLoad {
  std::string admin_socket;
  std::string agent_socket;
  int count = 200;
};
absl::Status RunIdentityLoad(const IdentityLoad& load);
// One service that is given `count` identities before the first round, and keeps them.
absl::Status RunManyLoad(const IdentityLoad& load);

// `count` nodes with a stream each. A round changes something that concerns all, and ends when all
// have acknowledged it and the CA knows: one more pair of peers is allowed, or, with `trust`, a pin
// set with two signatures is published, which each node verifies for itself.
struct FleetLoad {
  std::string admin_socket;
  std::string ca;
  int count = 100;
  bool trust = false;
};
absl::Status RunFleetLoad(const FleetLoad& load);

// One round: an issuer is replaced, from prepare to done, under `count` nodes with as many services
// each. All are renewed after activate and at half of their lives, on new connections. Between the
// steps each service's certificate is judged by another node.
struct RotationLoad {
  std::string admin_socket;
  std::string ca;
  int count = 100;
  int services = 10;
  int life_seconds = 120;  // of certificates, by the CA's configuration
};
absl::Status RunRotationLoad(const RotationLoad& load);

}  // namespace linchpin::bench
