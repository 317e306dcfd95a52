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

absl::string_view Beginning(absl::string_view text, size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
  return text.substr(0, most);
}

}  // namespace linchpin::trust
