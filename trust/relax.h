// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Relax documents: signed beforehand by the signers of one pin set, played when its issuers' pins
// stand in the way of an emergency. For a while what Judge finds in step 3 is reported instead of
// blocking; anchors, policy and revocations stay as they are. docs/formats.md has the bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/pin_set.h"
#include "x509/key.h"

namespace linchpin::trust {

inline constexpr absl::Duration kLongestRelax = absl::Hours(7 * 24);
inline constexpr absl::Duration kShortestRelax = absl::Minutes(1);
inline constexpr size_t kMaxRelaxes = 16;  // that one version may be relaxed by

struct Relax {
  TrustDomain trust_domain;
  v1::Relax message;  // checked
};

// Parses and checks a payload, whole or nothing. INVALID_ARGUMENT names the entry: unknown fields,
// no version, another scope, a time outside kShortestRelax to kLongestRelax, a latest date that is
// not after issue. At most 4 KiB.
absl::StatusOr<Relax> ParseRelax(absl::string_view payload);

// The bytes that a signer signs for `payload`: domain separator and payload.
std::string RelaxSigningInput(absl::string_view payload);
v1::Signature SignRelax(absl::string_view payload, const x509::PrivateKey& signer);

// Of the set that `cursor` has in force, signed by its signers. PERMISSION_DENIED: signatures;
// FAILED_PRECONDITION: of another trust domain or version; INVALID_ARGUMENT: malformed.
absl::StatusOr<Relax> VerifyRelax(const PinSetCursor& cursor, const v1::SignedRelax& document);

// What one who honours a document keeps, so that it is honoured once.
struct Relaxed {
  std::vector<std::string> used;  // SHA-256 of each payload that was honoured under this version
  absl::Time began_at = absl::InfinitePast();  // the last of them
  absl::Time ends_at = absl::InfinitePast();
  bool operator==(const Relaxed&) const = default;
};

// Begins at `now`, if `document` was not honoured before and its latest date is not past: ends
// after its maximum time or at its latest date, whichever is first. A document of an older version
// changes nothing: a newer set has ended it. `now` must never go back between calls.
// RESOURCE_EXHAUSTED: kMaxRelaxes were honoured; else the codes of VerifyRelax.
absl::Status Honour(const PinSetCursor& cursor, const v1::SignedRelax& document, absl::Time now,
                    Relaxed* relaxed);

}  // namespace linchpin::trust
