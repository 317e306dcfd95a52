// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/join_token.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/status_macros.h"

namespace linchpin::agent {

absl::StatusOr<std::string> ReadJoinToken(const std::string& file) {
  if (file.empty()) {
    return absl::FailedPreconditionError(
        "the node needs a join token: give --join-token-file (linchpin node token makes one)");
  }
  ASSIGN_OR_RETURN(std::string token, base::ReadFile(file, 4096));
  absl::StripAsciiWhitespace(&token);
  const bool one_word = std::all_of(token.begin(), token.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (token.empty() || !one_word) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the join token file ", file, token.empty() ? " is empty" : " holds more than a token"));
  }
  return token;
}

}  // namespace linchpin::agent
