// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Authenticated encryption of state at rest: AES-256-GCM, a fresh nonce a message.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/random.h"
#include "x509/secret_bytes.h"

namespace linchpin::x509 {

inline constexpr size_t kSealingKeySize = 32;

// `context` is bound to the message but not stored: opening with another one fails.
absl::StatusOr<std::string> Seal(const SecretBytes& key, absl::string_view plaintext,
                                 absl::string_view context, base::Random& random);
// DATA_LOSS: not sealed with this key and context, or damaged.
absl::StatusOr<SecretBytes> Unseal(const SecretBytes& key, absl::string_view sealed,
                                   absl::string_view context);

}  // namespace linchpin::x509
