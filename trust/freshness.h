// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Freshness statements: "version N is the newest", signed day by day with a key that the pin set
// names and the CA does not hold. They turn withheld sets into an alarm, never into an outage.
// docs/formats.md has the bytes.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "x509/key.h"

namespace linchpin::trust {

inline constexpr absl::Duration kLongestFreshness = absl::Hours(31 * 24);
// A set that has just been signed is the newest: it needs no statement yet.
inline constexpr absl::Duration kFreshAtIssue = absl::Hours(24);

// Parses and checks a payload, whole or nothing. INVALID_ARGUMENT names the entry: unknown fields,
// no version, a life beyond kLongestFreshness. At most 4 KiB.
absl::StatusOr<v1::Freshness> ParseFreshness(absl::string_view payload);

// The bytes that are signed for `payload`: domain separator and payload.
std::string FreshnessSigningInput(absl::string_view payload);
v1::SignedFreshness SignFreshness(const v1::Freshness& statement, const x509::PrivateKey& key);

// Of `set`'s trust domain, signed with the key that it names. PERMISSION_DENIED: another key, or
// the set names none; FAILED_PRECONDITION: another trust domain; INVALID_ARGUMENT: malformed.
absl::StatusOr<v1::Freshness> VerifyFreshness(const v1::PinSet& set,
                                              const v1::SignedFreshness& statement);

// Why the holder of `set` must believe that newer sets are withheld; empty if it need not, or if
// the set names no key. `newest` is the statement with the latest time of issue that verified.
std::string WhyWithheld(const v1::PinSet& set, const std::optional<v1::Freshness>& newest,
                        absl::Time now);

}  // namespace linchpin::trust
