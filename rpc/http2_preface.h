// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Tells an HTTP/2 client by the first bytes that it sends.
#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"

namespace linchpin::rpc {

enum class Preface {
  kBegun,    // so far so good, more must come
  kWhole,    // the preface and the first SETTINGS frame are there
  kForeign,  // no HTTP/2 client begins so
};

// As many bytes decide every case.
inline constexpr size_t kPrefaceBytes = 24 + 9 + 64 * 6;

// RFC 9113, 3.4: the client connection preface starts with "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".
// "This sequence MUST be followed by a SETTINGS frame, which MAY be empty." More than 64 settings
// are foreign: eight are defined.
Preface LookAtPreface(absl::string_view first_bytes);

}  // namespace linchpin::rpc
