// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The SHA-256 of a SubjectPublicKeyInfo: how keys are named and pinned everywhere.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::x509 {

class SpkiPin {
 public:
  static SpkiPin OfSpki(absl::string_view spki_der);
  // "sha256:<base64 of 32 bytes>" (standard alphabet, padded). INVALID_ARGUMENT quotes the text.
  static absl::StatusOr<SpkiPin> Parse(absl::string_view text);
  // 32 raw bytes, as in messages. INVALID_ARGUMENT names the length found.
  static absl::StatusOr<SpkiPin> FromBytes(absl::string_view bytes);

  std::string ToString() const;  // sha256:<base64>
  std::string bytes() const { return std::string(digest_.begin(), digest_.end()); }

  auto operator<=>(const SpkiPin&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const SpkiPin& pin) {
    return H::combine(std::move(h), pin.digest_);
  }

 private:
  std::array<uint8_t, 32> digest_{};
};

}  // namespace linchpin::x509
