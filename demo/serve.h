// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The two things that a demonstration service does.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "demo/events.h"
#include "sdk/tls.h"

namespace linchpin::demo {

// How long a peer may take for its byte.
inline constexpr absl::Duration kPatience = absl::Seconds(5);

// The word at the front of a refusal ("PEER_NOT_ALLOWED"), else the status's code.
std::string ReasonWord(const absl::Status& status);

struct ServePlace {
  std::string address;  // IPv4
  int port = 0;         // 0: any
};
// Answers a byte with a byte there until `stop_fd` is readable.
absl::Status Serve(const tls::ServerTls& server, const ServePlace& place, int stop_fd,
                   Events* events);

struct CallOptions {
  std::string address;
  std::string expected_id;
  int connections = 0;  // 0: until `stop_fd` is readable
  absl::Duration interval = absl::Milliseconds(50);
  bool unjudged = false;  // do not judge the server
};
// Connects again and again; OK if each connection was let in.
absl::Status Call(const tls::ClientTls& client, const CallOptions& options, int stop_fd,
                  Events* events);

// One connection of an unjudging client.
absl::Status CallUnjudged(const tls::ClientTls& client, const CallOptions& options);

}  // namespace linchpin::demo
