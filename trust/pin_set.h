// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Pin sets: which root keys may anchor a path and which keys may sign leaves, signed apart from the
// CA. Values here are decoded and checked; docs/formats.md has the bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/spiffe_id.h"
#include "x509/key.h"

namespace linchpin::trust {

// k of n keys; a key counts once however often it signed.
struct SignerSet {
  std::vector<x509::PublicKey> keys;
  uint32_t threshold = 0;
  bool empty() const { return keys.empty(); }
};
// 1 <= threshold <= keys <= 32, all distinct, P-256 or P-384. INVALID_ARGUMENT names the entry.
absl::StatusOr<SignerSet> DecodeSigners(const v1::Signers& message);
v1::Signers EncodeSigners(const SignerSet& signers);

struct PinSet {
  TrustDomain trust_domain;
  v1::PinSet message;  // checked: every pin 32 bytes, sorted roles, versions > 0, …
  SignerSet signers;
};

// Parses and checks a payload, whole or nothing: unknown fields, one malformed or doubled entry, an
// enforced set without an active and a backup issuer (or with both issuers and any_under_anchor), a
// backup without a proof of possession that verifies, expiry not after issue: INVALID_ARGUMENT,
// naming the entry. At most 64 KiB, 64 anchors, 256 issuers.
absl::StatusOr<PinSet> ParsePinSet(absl::string_view payload);

// The bytes that a signer signs for `payload`: domain separator and payload.
std::string PinSetSigningInput(absl::string_view payload);
v1::Signature SignPinSet(absl::string_view payload, const x509::PrivateKey& signer);

// The bytes that a proof of possession signs.
std::string PossessionInput(const TrustDomain& trust_domain, const x509::SpkiPin& pin,
                            int64_t made_at);
absl::StatusOr<v1::PossessionProof> ProvePossession(const TrustDomain& trust_domain,
                                                    const x509::PrivateKey& key, absl::Time now);

// What an agent starts from and carries along: who may sign, and the last version it took.
struct PinSetCursor {
  TrustDomain trust_domain;
  SignerSet signers;             // empty: set 0 applies until the first signed set
  uint64_t version = 0;          // in force; 0: none
  uint64_t minimum_version = 0;  // first contact refuses less
};

struct AcceptedPinSets {
  PinSetCursor cursor;  // after the last one
  std::optional<PinSet> in_force;
};

// Follows `sets` (in version order) from `cursor`: each must verify under the signers of the one
// before it *and* its own, by threshold, and have a larger version; sets not newer than the
// cursor's are skipped. With an empty cursor (set 0) the first set installs its own signers.
// `first_contact` additionally refuses a last set below the minimum version or expired at `now`.
// Whole or nothing. PERMISSION_DENIED: signatures; FAILED_PRECONDITION: rollback or other trust
// domain; INVALID_ARGUMENT: malformed.
absl::StatusOr<AcceptedPinSets> FollowPinSets(const PinSetCursor& cursor,
                                              const std::vector<v1::SignedPinSet>& sets,
                                              absl::Time now, bool first_contact);

// What the set asks for. Its expiry is only carried along: Judge applies on_expiry at its `now`.
v1::EffectivePins Effective(const PinSet& set);
// Set 0: unsigned, enforcing; frozen anchors and the issuers the authenticated CA declares.
v1::EffectivePins SetZero(const std::vector<x509::SpkiPin>& anchors,
                          const std::vector<x509::SpkiPin>& issuers);

}  // namespace linchpin::trust
