// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Bytes as hexadecimal digits say them. abseil's own, absl::HexStringToBytes, is one function in
// the version of Debian 12 and another in that of Debian 13.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace linchpin::base {

// Of digits in pairs, of either case, and nothing else; none otherwise. Of no digits: no bytes.
inline std::optional<std::string> BytesOfHex(absl::string_view digits) {
  if (digits.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  for (size_t i = 0; i < digits.size(); i += 2) {
    uint32_t value = 0;
    if (!absl::ascii_isxdigit(digits[i]) || !absl::ascii_isxdigit(digits[i + 1]) ||
        !absl::SimpleHexAtoi(digits.substr(i, 2), &value)) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(value));
  }
  return bytes;
}

}  // namespace linchpin::base
