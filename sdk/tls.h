// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// SSL_CTXs that stay current and judge every peer. TLS 1.3 only; no session is resumed, because a
// resumed peer could not be judged. Each handshake uses one snapshot of the source: its leaf, its
// pins, its policy. Without one, or once the leaf has expired, handshakes fail (UNAVAILABLE).
//
// A context sets its own verify, certificate and info callbacks; do not replace them. In TLS 1.3 a
// client's handshake ends before the server has judged it: only the first byte from the server
// shows that it was let in.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sdk/context_source.h"
#include "sdk/types.h"

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;

namespace linchpin::tls {

struct TlsOptions {
  // The SPIFFE ID to be; empty: the process's first.
  std::string identity;
  // Connections and PeerWatches older than this are closed (a little earlier, so that not all end
  // at once). A leaf that expires never closes a live connection.
  absl::Duration max_connection_age = absl::InfiniteDuration();
  // The longest that a Connection's handshake may take, however much time its caller gives it: a
  // peer that falls silent holds a thread and a descriptor that long. Who drives an SSL of his own
  // sees to that himself.
  absl::Duration handshake_timeout = absl::Seconds(10);
};

// Asks each client for a certificate and lets in whom policy allows. Any thread.
class ServerTls {
 public:
  static absl::StatusOr<std::shared_ptr<ServerTls>> Make(
      const std::shared_ptr<ContextSource>& source, TlsOptions options);
  ~ServerTls();
  ServerTls(const ServerTls&) = delete;

  // Borrowed; an SSL made from it keeps all it needs alive.
  SSL_CTX* ctx() const { return ctx_; }

 private:
  explicit ServerTls(SSL_CTX* ctx) : ctx_(ctx) {}
  SSL_CTX* const ctx_;
};

// Shows its certificate and accepts the one peer that SetExpectedPeer() names. Any thread.
class ClientTls {
 public:
  static absl::StatusOr<std::shared_ptr<ClientTls>> Make(
      const std::shared_ptr<ContextSource>& source, TlsOptions options);
  ~ClientTls();
  ClientTls(const ClientTls&) = delete;

  SSL_CTX* ctx() const { return ctx_; }  // as above

 private:
  explicit ClientTls(SSL_CTX* ctx) : ctx_(ctx) {}
  SSL_CTX* const ctx_;
};

// A sentence for logs: in which of OpenSSL's library contexts those made now would be, and why
// (x509/tls_library.h). Any thread.
std::string DescribeTlsLibrary();

// Before the handshake: the peer must be exactly this ID, and policy must allow it.
// INVALID_ARGUMENT for text that is no SPIFFE ID, FAILED_PRECONDITION for an SSL that is not of
// this library.
absl::Status SetExpectedPeer(SSL* ssl, absl::string_view spiffe_id);
// Before the handshake: whomever policy allows. What servers do; a client must ask for it, since
// any allowed callee could then answer as another.
absl::Status ExpectAnyAllowedPeer(SSL* ssl);

// What was made of the peer. Before a handshake has ended, and for an SSL that is not of this
// library, it is not allowed.
PeerVerdict VerdictOf(const SSL* ssl);

// Holds a registration; destroying it ends it, and waits for a callback that is running.
class PeerWatch {
 public:
  virtual ~PeerWatch() = default;
};

// For users with an SSL of their own (Connection does this itself): after the handshake, calls
// `closed` once, from the source's thread, when the peer is no longer allowed or the connection has
// reached its greatest age (then `allowed` is true). Typically it calls shutdown(2) on the socket:
// an SSL must not be touched from another thread. It must not destroy the ContextSource.
// FAILED_PRECONDITION before the handshake's end.
absl::StatusOr<std::unique_ptr<PeerWatch>> OnPeerNoLongerAllowed(
    const SSL* ssl, std::function<void(const PeerVerdict&)> closed);

}  // namespace linchpin::tls
