// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A connection that a local server serves.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "rpc/http2_gate.h"
#include "rpc/local_server.h"

namespace linchpin::rpc {

struct LocalServer::Served final : SessionHost {
  Served(LocalServer& owner, ConnectionId number, int socket,
         std::shared_ptr<const UnixPeer> process)
      : server(owner), id(number), fd(socket), peer(std::move(process)) {}

  // Hold() and Free() ask nothing of a user who is trusted.
  bool Hold(size_t bytes) override { return trusted() || server.budgets_.Hold(peer->uid(), bytes); }
  void Free(size_t bytes) override {
    if (!trusted()) server.budgets_.Free(peer->uid(), bytes);
  }
  // To answer one is as much work as to answer a call.
  void Took() override {
    if (!trusted()) server.budgets_.ChargeCall(peer->uid(), base::SystemClock().Uptime());
  }
  void Remind(int32_t stream, absl::Duration after) override {
    server.reminders_.Add({id, stream}, base::SystemClock().Uptime() + after);
  }
  void CallOff(int32_t stream) override { server.reminders_.Remove({id, stream}); }
  bool trusted() const { return server.places_.Trusts(peer->uid()); }

  LocalServer& server;
  const ConnectionId id;
  const int fd;
  const std::shared_ptr<const UnixPeer> peer;
  Http2Gate gate;
  std::unique_ptr<Http2Session> session;
  std::string out;      // what the caller has not taken, after `sent`
  size_t sent = 0;      // of it
  uint32_t events = 0;  // that are waited for
  bool waits = false;   // its user has sent too much
  size_t calls = 0;     // that were counted
  std::optional<std::list<std::pair<absl::Duration, ConnectionId>>::iterator> idle;
};

}  // namespace linchpin::rpc
