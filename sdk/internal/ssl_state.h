// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What hangs on an SSL_CTX and on an SSL, and the callbacks that use it.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sdk/internal/runtime.h"
#include "sdk/sdk_core.h"
#include "sdk/types.h"

namespace linchpin::tls {

// Owned by the SSL_CTX, so that it lives as long as any SSL made from it.
struct CtxState {
  std::shared_ptr<Runtime> runtime;
  trust::Direction direction = trust::Direction::kInbound;  // of connections, as we judge them
  std::string identity;                                     // empty: the default
  absl::Duration max_age = absl::InfiniteDuration();
  absl::Duration handshake_timeout = absl::InfiniteDuration();
};

// Owned by the SSL; used only by the thread that uses the SSL.
struct SslState {  // of one handshake, but for `expect`
  std::optional<trust::Expect> expect;
  // One snapshot for the whole handshake: the certificate that is shown and the trust that judges.
  bool snapped = false;
  std::shared_ptr<const InForce> contexts;
  std::shared_ptr<const trust::MtlsContext> context;  // null: see `unavailable`
  std::string unavailable;
  trust::RawChain chain;  // the path that was allowed, without its anchor
  absl::Time judged_at;
  bool counted = false;
  PeerVerdict verdict;  // of the certificate; the handshake may still fail after it
};

// A context with all callbacks set; the caller owns it.
absl::StatusOr<SSL_CTX*> MakeSslCtx(CtxState state);

// Null for an object that is not of this library.
const CtxState* FindState(const SSL_CTX* ctx);
const SslState* FindState(const SSL* ssl);
SslState* StateOf(SSL* ssl);  // made on first use

}  // namespace linchpin::tls
