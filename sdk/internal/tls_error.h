// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// OpenSSL's outcome of a call as a Status.
#pragma once

#include <openssl/ssl.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace linchpin::tls {

// After `result` <= 0 of a call on `ssl`, when it is neither WANT_READ nor WANT_WRITE; drains the
// error queue. Codes as in sdk/connection.h.
absl::Status TlsError(const SSL* ssl, int result, absl::string_view doing);

}  // namespace linchpin::tls
