// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/keys/key_manager.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace linchpin::ca {

absl::Status CheckKeyName(const std::string& name) {
  bool good = !name.empty() && name.size() <= 64;
  for (const char c : name)
    good = good && (absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-');
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "key name \"", absl::CHexEscape(name.substr(0, 80)), "\": expected [a-z0-9-]{1,64}"));
}

}  // namespace linchpin::ca
