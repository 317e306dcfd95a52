// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// gRPC 1.51, as Debian builds it, has one key agreement for every context that it makes, P-256
// (SSL_CTX_set_tmp_ecdh), and no option for it. A program that this is linked into calls OpenSSL
// through the function below, and so does gRPC inside of it: it sets x509/tls_groups.h instead.
// For programs of ours, never for a library that others link.

#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "x509/tls_groups.h"

// OpenSSL's own, which much of its interface is macros of. The dynamic loader finds this one first.
extern "C" __attribute__((visibility("default"))) long SSL_CTX_ctrl(SSL_CTX* ctx, int command,
                                                                    long number, void* value) {
  using Control = long (*)(SSL_CTX*, int, long, void*);
  static const auto of_openssl = reinterpret_cast<Control>(dlsym(RTLD_NEXT, "SSL_CTX_ctrl"));
  if (command == SSL_CTRL_SET_TMP_ECDH) {
    // The first list fails where OpenSSL does not know it: no error of the caller's.
    ERR_set_mark();
    for (const char* groups : linchpin::x509::kTlsGroups) {
      if (of_openssl(ctx, SSL_CTRL_SET_GROUPS_LIST, 0, const_cast<char*>(groups)) != 1) continue;
      ERR_pop_to_mark();
      return 1;
    }
    ERR_pop_to_mark();
  }
  return of_openssl(ctx, command, number, value);
}
