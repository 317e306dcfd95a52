// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How times and untrusted texts are written into the sentences of this room.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace linchpin::trust {

// "2026-11-21T06:32:04Z"
std::string TimeText(absl::Time time);
// In double quotes, control characters escaped, cut after 256 bytes: a stranger's text cannot forge
// a line or fill a log.
std::string Quoted(absl::string_view text);
// The beginning of UTF-8 text, at most `most` bytes and no letter cut in two: a protobuf string
// with half a letter cannot be read by those who are sent it.
absl::string_view Beginning(absl::string_view text, size_t most);

}  // namespace linchpin::trust
