// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Where a service's certificate, key, pins and peer policy come from: the agent of this node. Kept
// current by a thread of its own; a handshake only ever takes a snapshot and never waits for the
// agent.
//
//   auto source = linchpin::tls::ContextSource::Open({});
//   if (auto ready = (*source)->WaitReady(absl::Seconds(30)); !ready.ok()) …
//   auto server = linchpin::tls::ServerTls::Make(*source, {});   // sdk/tls.h
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sdk/types.h"

namespace linchpin::base {
class Clock;
}

namespace linchpin::tls {

class Runtime;

class ContextSource {
 public:
  struct Options {
    // "unix:///path" or "/path" of the agent's socket. Tried in turn where empty:
    // $LINCHPIN_AGENT_SOCKET, $SPIFFE_ENDPOINT_SOCKET, unix:///run/linchpin/agent.sock.
    std::string socket;
    // Called from the source's thread, one notice after the other; it must not block for
    // long. Where empty, each notice is one line on stderr.
    std::function<void(const Notice&)> observer;
    // Borrowed, must outlive the source; null: the machine's.
    const base::Clock* clock = nullptr;
  };

  // Returns at once; the agent need not run yet, and is tried for ever (every 5 s at most).
  // INVALID_ARGUMENT: a socket that is no absolute path.
  static absl::StatusOr<std::shared_ptr<ContextSource>> Open(Options options);

  // Stops the thread; what ServerTls, ClientTls, Connections, and gRPC's channels and servers hold
  // keeps the source alive. Not in a callback of gRPC's. Where a channel or a server of gRPC's was
  // the last to hold it, it ends a moment later.
  ~ContextSource();
  ContextSource(const ContextSource&) = delete;
  ContextSource& operator=(const ContextSource&) = delete;

  // Any thread. OK once there is an identity in force. UNAVAILABLE after `timeout`, saying whether
  // the agent was not reached or knows no identity for this process, and which selectors it saw.
  absl::Status WaitReady(absl::Duration timeout) const;

  // Any thread. In the order of their registration, the default first; empty before the first.
  std::vector<IdentityInfo> Current() const;

  const std::string& socket() const;  // the path that is used

  // For the library itself.
  const std::shared_ptr<Runtime>& runtime() const { return runtime_; }

 private:
  explicit ContextSource(std::shared_ptr<Runtime> runtime) : runtime_(std::move(runtime)) {}
  std::shared_ptr<Runtime> runtime_;
};

}  // namespace linchpin::tls
