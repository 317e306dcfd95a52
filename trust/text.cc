// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/text.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace linchpin::trust {

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

std::string Quoted(absl::string_view text) {
  constexpr size_t kMost = 256;
  const std::string shown = absl::CHexEscape(text.substr(0, kMost));
  return absl::StrCat("\"", shown, text.size() > kMost ? "…" : "", "\"");
}

}  // namespace linchpin::trust
