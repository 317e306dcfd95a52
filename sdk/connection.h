// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A TCP or Unix connection over TLS whose peer was judged, and is judged again whenever trust
// changes: one that is no longer allowed is closed under the user's feet.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sdk/tls.h"
#include "sdk/types.h"

namespace linchpin::tls {

// Any thread; one Read and one Write at a time.
//
// Errors of every method: PERMISSION_DENIED: this side refused or no longer allows the peer, or the
// peer refused this side (the message begins with the reason, or names the TLS alert);
// UNAVAILABLE: no identity is in force here, or the network failed; DEADLINE_EXCEEDED;
// FAILED_PRECONDITION: closed already.
class Connection {
 public:
  // To "HOST:PORT", "[V6]:PORT" or "unix:///path"; the peer must be exactly `expected_id`. Names
  // are resolved by the system's resolver, which may take longer than `timeout`. Of a name's
  // addresses each is tried a quarter of a second after the one before it, and the first to answer
  // is taken. The handshake takes at most TlsOptions::handshake_timeout of `timeout`.
  static absl::StatusOr<std::unique_ptr<Connection>> Connect(const ClientTls& tls,
                                                             const std::string& address,
                                                             const std::string& expected_id,
                                                             absl::Duration timeout);

  // Takes the accepted socket `fd` over, also on failure. A refusal's message is its verdict. It
  // takes at most `timeout` and at most TlsOptions::handshake_timeout.
  static absl::StatusOr<std::unique_ptr<Connection>> Accept(const ServerTls& tls, int fd,
                                                            absl::Duration timeout);

  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // At least one byte and at most `most`; empty when the peer has closed. A client's first Read is
  // where the server's refusal arrives.
  absl::StatusOr<std::string> Read(size_t most, absl::Duration timeout);
  // All of it. After an error part of it may have been sent: close the connection.
  absl::Status Write(absl::string_view data, absl::Duration timeout);
  // Ends Read and Write of another thread too. Idempotent.
  void Close();

  const std::string& peer_id() const { return verdict_.peer_id; }
  const PeerVerdict& verdict() const { return verdict_; }  // of the handshake
  std::string group() const;  // the negotiated key agreement, e.g. "X25519"

 private:
  struct Impl;
  Connection(std::unique_ptr<Impl> impl, PeerVerdict verdict);
  std::unique_ptr<Impl> impl_;
  const PeerVerdict verdict_;
};

}  // namespace linchpin::tls
