// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// OpenSSL's error queue as an absl::Status.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace linchpin::x509 {

// Drains this thread's queue. `doing` says what was tried: "sign certificate: <reasons>".
absl::Status OpenSslError(absl::StatusCode code, absl::string_view doing);

// Leaves this thread's queue empty at the end of a scope, whatever happened in it: a leftover
// would be read by the next TLS call of the thread as its own failure.
class ErrorQueueScope {
 public:
  ErrorQueueScope();
  ~ErrorQueueScope();
  ErrorQueueScope(const ErrorQueueScope&) = delete;
  ErrorQueueScope& operator=(const ErrorQueueScope&) = delete;
};

}  // namespace linchpin::x509
