// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How a TLS client begins to speak, told without reading it away.
#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"

namespace linchpin::rpc {

enum class Hello {
  kBegun,    // so far so good, more must come
  kWhole,    // the first record is there, and a ClientHello begins it
  kForeign,  // no TLS client begins so
};

// As many bytes decide every case.
inline constexpr size_t kHelloBytes = 6;

// RFC 8446, 5.1: a record is type, legacy_record_version, length ("The length MUST NOT exceed 2^14
// bytes") and fragment; 4: a handshake message begins with its type. `first_bytes` are the first of
// `available` that have come.
Hello LookAtHello(absl::string_view first_bytes, size_t available);

}  // namespace linchpin::rpc
