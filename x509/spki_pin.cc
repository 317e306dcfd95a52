// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/spki_pin.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "x509/digest.h"

namespace linchpin::x509 {
namespace {

constexpr absl::string_view kPrefix = "sha256:";
constexpr size_t kMostQuoted = 80;

}  // namespace

SpkiPin SpkiPin::OfSpki(absl::string_view spki_der) {
  SpkiPin pin;
  const std::string digest = Sha256(spki_der);
  std::copy(digest.begin(), digest.end(), pin.digest_.begin());
  return pin;
}

absl::StatusOr<SpkiPin> SpkiPin::Parse(absl::string_view text) {
  absl::string_view encoded = text;
  std::string decoded;
  // Base64Unescape is lenient (spaces, no padding); only the one canonical text names a key.
  const bool ok = absl::ConsumePrefix(&encoded, kPrefix) && encoded.size() == 44 &&
                  absl::Base64Unescape(encoded, &decoded) && decoded.size() == 32 &&
                  absl::Base64Escape(decoded) == encoded;
  if (!ok) {
    return absl::InvalidArgumentError(
        absl::StrFormat("pin \"%s\": expected sha256: and 44 characters of base64, as printed by "
                        "linchpin ca pins",
                        absl::CHexEscape(text.substr(0, kMostQuoted))));
  }
  return FromBytes(decoded);
}

absl::StatusOr<SpkiPin> SpkiPin::FromBytes(absl::string_view bytes) {
  SpkiPin pin;
  if (bytes.size() != pin.digest_.size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("pin: expected 32 bytes, found %d", bytes.size()));
  }
  std::copy(bytes.begin(), bytes.end(), pin.digest_.begin());
  return pin;
}

std::string SpkiPin::ToString() const { return absl::StrCat(kPrefix, absl::Base64Escape(bytes())); }

}  // namespace linchpin::x509
