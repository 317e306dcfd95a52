// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/internal/ssl_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"
#include "x509/tls_groups.h"
#include "x509/tls_library.h"

namespace linchpin::tls {
namespace {

using CtxPtr = x509::OpenSslPtr<SSL_CTX, SSL_CTX_free>;

// More than Judge takes, so that a chain too large is refused by its name; far less than OpenSSL's
// 100 KiB.
constexpr long kMaxCertificateMessage = 32 * 1024;
constexpr int kMaxAuthorityNames = 64;

int CtxIndex() {
  static const int index = SSL_CTX_get_ex_new_index(
      0, nullptr, nullptr, nullptr, [](void*, void* state, CRYPTO_EX_DATA*, int, long, void*) {
        delete static_cast<CtxState*>(state);
      });
  return index;
}

// OpenSSL before 3.5 does not know the first.
bool SetGroups(SSL_CTX* ctx) {
  return std::any_of(x509::kTlsGroups.begin(), x509::kTlsGroups.end(), [ctx](const char* groups) {
    return SSL_CTX_set1_groups_list(ctx, groups) == 1;
  });
}

int SslIndex() {
  static const int index = SSL_get_ex_new_index(
      0, nullptr, nullptr,
      // SSL_dup() starts without a state of its own.
      [](CRYPTO_EX_DATA*, const CRYPTO_EX_DATA*, void** from, int, long, void*) {
        *from = nullptr;
        return 1;
      },
      [](void*, void* state, CRYPTO_EX_DATA*, int, long, void*) {
        delete static_cast<SslState*>(state);
      });
  return index;
}

// OpenSSL chooses the alert by the verification error. It cannot be made to send access_denied or
// decode_error: the nearest are certificate_unknown and bad_certificate.
int VerifyError(trust::Reason reason) {
  switch (trust::TlsAlert(reason)) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_DECODE_ERROR:
      return X509_V_ERR_CERT_REJECTED;
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
      return X509_V_ERR_INVALID_PURPOSE;
    case SSL_AD_CERTIFICATE_EXPIRED:
      return X509_V_ERR_CERT_HAS_EXPIRED;
    case SSL_AD_CERTIFICATE_REVOKED:
      return X509_V_ERR_CERT_REVOKED;
    case SSL_AD_UNKNOWN_CA:
      return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
    case SSL_AD_INTERNAL_ERROR:
      return X509_V_ERR_OUT_OF_MEM;
    default:
      return X509_V_ERR_NO_EXPLICIT_POLICY;  // sent as certificate_unknown
  }
}

void TakeSnapshot(const CtxState& ctx, SslState* state) {
  if (state->snapped) return;
  state->snapped = true;
  state->contexts = ctx.runtime->Snapshot();
  if (state->contexts == nullptr) {
    state->unavailable = "no identity has been delivered by the agent yet";
    return;
  }
  auto context = state->contexts->Find(ctx.identity);
  if (context == nullptr || !context->has_certificate()) {
    state->unavailable = absl::StrCat("the agent has delivered no identity ", ctx.identity);
    return;
  }
  const absl::Time expires = context->expires_at();
  if (expires <= ctx.runtime->Now()) {
    state->unavailable =
        absl::StrCat("our own certificate ", context->id()->ToString(), " expired at ",
                     absl::FormatTime(absl::RFC3339_sec, expires, absl::UTCTimeZone()),
                     " and the agent has delivered no newer one");
    return;
  }
  state->context = std::move(context);
}

void Count(const CtxState& ctx, const SslState& state, trust::Reason reason) {
  ctx.runtime->Judged({.reason = reason,
                       .self_id = state.context == nullptr ? "" : state.context->id()->ToString(),
                       .peer_id = state.verdict.peer_id,
                       .direction = ctx.direction});
}

void Refuse(const CtxState& ctx, SslState* state, trust::Reason reason, std::string detail) {
  state->verdict.allowed = false;
  state->verdict.reason = trust::ReasonName(reason);
  state->verdict.detail = std::move(detail);
  Count(ctx, *state, reason);
  ctx.runtime->NotifyRefused(ctx.direction, state->verdict);
}

trust::RawChain ReceivedChain(X509_STORE_CTX* store) {
  trust::RawChain chain;
  const STACK_OF(X509)* received = X509_STORE_CTX_get0_untrusted(store);
  for (int i = 0; i < sk_X509_num(received); ++i) {
    unsigned char* der = nullptr;
    const int size = i2d_X509(sk_X509_value(received, i), &der);
    chain.emplace_back(reinterpret_cast<char*>(der), size > 0 ? static_cast<size_t>(size) : 0);
    OPENSSL_free(der);
  }
  return chain;
}

int VerifyPeer(X509_STORE_CTX* store, void*) {
  SSL* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  const CtxState& ctx = *FindState(SSL_get_SSL_CTX(ssl));
  SslState* state = StateOf(ssl);
  TakeSnapshot(ctx, state);
  trust::Reason reason = trust::v1::NO_CONTEXT;
  if (state->context == nullptr) {
    Refuse(ctx, state, reason, state->unavailable);
  } else if (!state->expect && ctx.direction == trust::Direction::kOutbound) {
    reason = trust::v1::UNEXPECTED_PEER;
    Refuse(ctx, state, reason, "the client has not said whom it expects: SetExpectedPeer()");
  } else {
    state->judged_at = ctx.runtime->Now();
    const trust::Verdict verdict = trust::Judge(
        ReceivedChain(store), *state->context, ctx.direction,
        state->expect.value_or(trust::Expect::AnyAllowed()), state->judged_at, ctx.runtime->memo());
    state->verdict = ToPeerVerdict(verdict);
    if (verdict.allowed) {
      state->chain = ChainToKeep(verdict);
      X509_STORE_CTX_set_error(store, X509_V_OK);
      return 1;
    }
    reason = verdict.reason();
    Refuse(ctx, state, reason, state->verdict.detail);
  }
  X509_STORE_CTX_set_error(store, VerifyError(reason));
  return 0;
}

// The peer has named our issuer among its authorities: it holds that certificate, and a leaf alone
// is cheaper for both sides.
bool PeerHoldsIssuerOf(const x509::Certificate& leaf, const SSL* ssl) {
  const STACK_OF(X509_NAME)* names = SSL_get0_peer_CA_list(ssl);
  const X509_NAME* issuer = X509_get_issuer_name(leaf.x509());
  for (int i = 0; i < sk_X509_NAME_num(names); ++i) {
    if (X509_NAME_cmp(sk_X509_NAME_value(names, i), issuer) == 0) return true;
  }
  return false;
}

// The certificate that is shown. 0 fails the handshake with internal_error.
int ChooseCertificate(SSL* ssl, void*) {
  const CtxState& ctx = *FindState(SSL_get_SSL_CTX(ssl));
  SslState* state = StateOf(ssl);
  TakeSnapshot(ctx, state);
  if (state->context == nullptr) {
    Refuse(ctx, state, trust::v1::NO_CONTEXT, state->unavailable);
    return 0;
  }
  const x509::Chain& chain = state->context->chain();
  x509::BorrowedStackPtr issuers(sk_X509_new_null());
  if (!PeerHoldsIssuerOf(chain.front(), ssl)) {
    for (size_t i = 1; i < chain.size(); ++i) sk_X509_push(issuers.get(), chain[i].x509());
  }
  return SSL_use_cert_and_key(ssl, chain.front().x509(), state->context->key()->evp(),
                              issuers.get(), 1);
}

// So that a peer with several certificates, or one that may leave its issuer out, can tell.
void SendAuthorityNames(SSL* ssl, const InForce& contexts) {
  STACK_OF(X509_NAME)* names = sk_X509_NAME_new_null();
  for (const auto& [trust_domain, trust] : contexts.decoded.trust) {
    for (const x509::Certificate& issuer : trust->issuers()) {
      if (sk_X509_NAME_num(names) >= kMaxAuthorityNames) break;
      X509_NAME* name = X509_NAME_dup(X509_get_subject_name(issuer.x509()));
      if (name != nullptr) sk_X509_NAME_push(names, name);
    }
  }
  SSL_set0_CA_list(ssl, names);
}

void OnProgress(const SSL* const_ssl, int where, int ret) {
  SSL* ssl = const_cast<SSL*>(const_ssl);
  const CtxState& ctx = *FindState(SSL_get_SSL_CTX(ssl));
  SslState* state = StateOf(ssl);
  if ((where & SSL_CB_HANDSHAKE_START) != 0) {
    // Of an SSL that is used again, nothing of its last handshake counts; and a session that its
    // user has set must not be resumed: nobody would be judged.
    *state = SslState{.expect = std::move(state->expect)};
    SSL_set_session(ssl, nullptr);
    TakeSnapshot(ctx, state);
    if (state->contexts != nullptr) SendAuthorityNames(ssl, *state->contexts);
  } else if ((where & SSL_CB_HANDSHAKE_DONE) != 0 && !state->counted) {
    state->counted = true;
    Count(ctx, *state, trust::v1::VERDICT_REASON_UNSPECIFIED);
  } else if (where == SSL_CB_WRITE_ALERT && (ret & 0xff) == SSL_AD_CERTIFICATE_REQUIRED) {
    Refuse(ctx, state, trust::v1::NO_CERTIFICATE, "the peer sent no certificate");
  }
}

}  // namespace

const CtxState* FindState(const SSL_CTX* ctx) {
  return static_cast<const CtxState*>(SSL_CTX_get_ex_data(ctx, CtxIndex()));
}

const SslState* FindState(const SSL* ssl) {
  return static_cast<const SslState*>(SSL_get_ex_data(ssl, SslIndex()));
}

SslState* StateOf(SSL* ssl) {
  auto* state = static_cast<SslState*>(SSL_get_ex_data(ssl, SslIndex()));
  if (state == nullptr) {
    state = new SslState;
    SSL_set_ex_data(ssl, SslIndex(), state);
  }
  return state;
}

absl::StatusOr<SSL_CTX*> MakeSslCtx(CtxState state) {
  x509::ErrorQueueScope errors;
  const bool server = state.direction == trust::Direction::kInbound;
  CtxPtr ctx(SSL_CTX_new_ex(x509::ChooseTlsLibrary().context, nullptr,
                            server ? TLS_server_method() : TLS_client_method()));
  if (ctx == nullptr || SSL_CTX_set_min_proto_version(ctx.get(), TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(ctx.get(), TLS1_3_VERSION) != 1 || !SetGroups(ctx.get()) ||
      SSL_CTX_set_num_tickets(ctx.get(), 0) != 1) {
    return x509::OpenSslError(absl::StatusCode::kInternal, "make a TLS 1.3 context");
  }
  SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(ctx.get(), SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_max_cert_list(ctx.get(), kMaxCertificateMessage);
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(ctx.get(), VerifyPeer, nullptr);
  SSL_CTX_set_cert_cb(ctx.get(), ChooseCertificate, nullptr);
  SSL_CTX_set_info_callback(ctx.get(), OnProgress);
  auto owned = std::make_unique<CtxState>(std::move(state));
  if (SSL_CTX_set_ex_data(ctx.get(), CtxIndex(), owned.get()) != 1) {
    return x509::OpenSslError(absl::StatusCode::kInternal, "make a TLS 1.3 context");
  }
  owned.release();
  return ctx.release();
}

}  // namespace linchpin::tls
