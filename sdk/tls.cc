// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/tls.h"

#include <openssl/ssl.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "sdk/internal/runtime.h"
#include "sdk/internal/ssl_state.h"
#include "trust/spiffe_id.h"
#include "x509/tls_library.h"

namespace linchpin::tls {
namespace {

absl::StatusOr<SSL_CTX*> Make(const std::shared_ptr<ContextSource>& source, TlsOptions options,
                              trust::Direction direction) {
  if (!options.identity.empty()) {
    RETURN_IF_ERROR(trust::SpiffeId::Parse(options.identity).status());
  }
  if (options.max_connection_age <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat("max_connection_age is ",
                                                   absl::FormatDuration(options.max_connection_age),
                                                   "; expected more than nothing"));
  }
  if (options.handshake_timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat("handshake_timeout is ",
                                                   absl::FormatDuration(options.handshake_timeout),
                                                   "; expected more than nothing"));
  }
  CtxState state;
  state.runtime = source->runtime();
  state.direction = direction;
  state.identity = std::move(options.identity);
  state.max_age = options.max_connection_age;
  state.handshake_timeout = options.handshake_timeout;
  return MakeSslCtx(std::move(state));
}

absl::Status Expects(SSL* ssl, trust::Expect expect) {
  if (FindState(SSL_get_SSL_CTX(ssl)) == nullptr) {
    return absl::FailedPreconditionError("the SSL was not made from a ServerTls or ClientTls");
  }
  StateOf(ssl)->expect = std::move(expect);
  return absl::OkStatus();
}

class Registration : public PeerWatch {
 public:
  Registration(std::shared_ptr<Runtime> runtime, ConnectionId id)
      : runtime_(std::move(runtime)), id_(id) {}
  ~Registration() override { runtime_->Unwatch(id_); }

 private:
  const std::shared_ptr<Runtime> runtime_;
  const ConnectionId id_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<ServerTls>> ServerTls::Make(
    const std::shared_ptr<ContextSource>& source, TlsOptions options) {
  ASSIGN_OR_RETURN(SSL_CTX * ctx,
                   tls::Make(source, std::move(options), trust::Direction::kInbound));
  return std::shared_ptr<ServerTls>(new ServerTls(ctx));
}

ServerTls::~ServerTls() { SSL_CTX_free(ctx_); }

absl::StatusOr<std::shared_ptr<ClientTls>> ClientTls::Make(
    const std::shared_ptr<ContextSource>& source, TlsOptions options) {
  ASSIGN_OR_RETURN(SSL_CTX * ctx,
                   tls::Make(source, std::move(options), trust::Direction::kOutbound));
  return std::shared_ptr<ClientTls>(new ClientTls(ctx));
}

ClientTls::~ClientTls() { SSL_CTX_free(ctx_); }

std::string DescribeTlsLibrary() { return x509::ChooseTlsLibrary().why; }

absl::Status SetExpectedPeer(SSL* ssl, absl::string_view spiffe_id) {
  ASSIGN_OR_RETURN(trust::SpiffeId id, trust::SpiffeId::Parse(spiffe_id));
  return Expects(ssl, trust::Expect::Id(std::move(id)));
}

absl::Status ExpectAnyAllowedPeer(SSL* ssl) { return Expects(ssl, trust::Expect::AnyAllowed()); }

PeerVerdict VerdictOf(const SSL* ssl) {
  const SslState* state = FindState(ssl);
  PeerVerdict verdict;
  if (state != nullptr && (SSL_is_init_finished(ssl) == 1 || !state->verdict.reason.empty())) {
    return state->verdict;
  }
  // The certificate may have passed, but the peer has not shown yet that the key is its own.
  verdict.detail = "the handshake has not ended";
  return verdict;
}

absl::StatusOr<std::unique_ptr<PeerWatch>> OnPeerNoLongerAllowed(
    const SSL* ssl, std::function<void(const PeerVerdict&)> closed) {
  const CtxState* ctx = FindState(SSL_get_SSL_CTX(ssl));
  const SslState* state = FindState(ssl);
  if (ctx == nullptr || state == nullptr || !VerdictOf(ssl).allowed) {
    return absl::FailedPreconditionError(
        "only a connection of this library whose handshake has ended can be watched");
  }
  event::ConnectionOpened opened;
  opened.self_id = state->context->id()->ToString();
  opened.context = state->context;
  opened.chain = state->chain;
  opened.direction = ctx->direction;
  opened.expect = state->expect.value_or(trust::Expect::AnyAllowed());
  opened.handshake_time = state->judged_at;
  opened.trust_digest = state->contexts->decoded.trust_digest;
  opened.max_age = ctx->max_age;
  ASSIGN_OR_RETURN(ConnectionId id, ctx->runtime->Watch(std::move(opened), std::move(closed)));
  return std::make_unique<Registration>(ctx->runtime, id);
}

}  // namespace linchpin::tls
