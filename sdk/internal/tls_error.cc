// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/internal/tls_error.h"

#include <openssl/err.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "sdk/internal/ssl_state.h"
#include "trust/verdict.h"
#include "x509/openssl_error.h"

namespace linchpin::tls {
namespace {

absl::Status PeerAlert(int alert, absl::string_view doing) {
  const std::string text =
      absl::StrCat(doing, ": the peer sent the TLS alert ", SSL_alert_desc_string_long(alert));
  // What a peer without an identity sends (RFC 8446 §6.2: "an internal error unrelated to the peer
  // or the correctness of the protocol").
  if (alert == SSL_AD_INTERNAL_ERROR) return absl::UnavailableError(text);
  return absl::PermissionDeniedError(text);
}

}  // namespace

absl::Status TlsError(const SSL* ssl, int result, absl::string_view doing) {
  const int saved_errno = errno;
  const int kind = SSL_get_error(ssl, result);
  const unsigned long error = ERR_peek_error();
  const int reason = ERR_GET_REASON(error);
  const SslState* state = FindState(ssl);
  if (state != nullptr && !state->verdict.reason.empty()) {
    ERR_clear_error();
    if (state->context == nullptr) return absl::UnavailableError(state->verdict.ToString());
    return absl::PermissionDeniedError(state->verdict.ToString());
  }
  if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET) {
    ERR_clear_error();
    return PeerAlert(reason - SSL_AD_REASON_OFFSET, doing);
  }
  if (kind == SSL_ERROR_ZERO_RETURN) {
    return absl::UnavailableError(absl::StrCat(doing, ": the peer has closed the connection"));
  }
  if (kind == SSL_ERROR_SYSCALL && error == 0) {
    return absl::UnavailableError(absl::StrCat(
        doing, ": ",
        saved_errno == 0 ? "the peer has closed the connection" : std::strerror(saved_errno)));
  }
  return x509::OpenSslError(absl::StatusCode::kUnavailable, doing);
}

}  // namespace linchpin::tls
