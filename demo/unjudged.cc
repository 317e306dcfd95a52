// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A client that has patched its own checks out, to show that the server's half of the policy holds
// by itself. It also shows the library with an SSL of one's own.

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <csignal>
#include <memory>

#include "absl/strings/str_cat.h"
#include "demo/serve.h"

namespace linchpin::demo {

absl::Status CallUnjudged(const tls::ClientTls& client, const CallOptions& options) {
  signal(SIGPIPE, SIG_IGN);  // OpenSSL's own sockets raise it
  ERR_clear_error();
  BIO* socket = BIO_new_connect(options.address.c_str());
  if (BIO_do_connect(socket) != 1) {
    BIO_free_all(socket);
    return absl::UnavailableError(absl::StrCat("cannot connect to ", options.address));
  }
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(client.ctx()), SSL_free);
  SSL_set_bio(ssl.get(), socket, socket);
  SSL_set_verify(ssl.get(), SSL_VERIFY_NONE, nullptr);
  if (absl::Status set = tls::SetExpectedPeer(ssl.get(), options.expected_id); !set.ok())
    return set;
  char byte = '?';
  if (SSL_connect(ssl.get()) == 1 && SSL_write(ssl.get(), &byte, 1) == 1 &&
      SSL_read(ssl.get(), &byte, 1) == 1) {
    return absl::OkStatus();
  }
  const char* why = ERR_reason_error_string(ERR_peek_error());
  ERR_clear_error();
  return absl::PermissionDeniedError(
      absl::StrCat("the server refused: ", why == nullptr ? "it has closed" : why));
}

}  // namespace linchpin::demo
