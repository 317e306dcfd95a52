// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// OpenSSL's error queue as an absl::Status.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace linchpin::x509 {

// Drains this thread's queue. `doing` says what was tried: "sign certificate: <reasons>".
absl::Status OpenSslError(absl::StatusCode code, absl::string_view doing);

}  // namespace linchpin::x509
