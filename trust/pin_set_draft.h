// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The next pin set, made from the one before it and the keys that are to be pinned. Pure; nothing
// is in force before its signers have signed it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/pin_set.h"

namespace linchpin::trust {

// A root or an issuer of the CA.
struct KeyToPin {
  bool is_root = false;
  std::string spki_sha256;
  std::string label;                                           // of a root; cut at 128 bytes
  v1::IssuerPin::Role role = v1::IssuerPin::ROLE_UNSPECIFIED;  // of an issuer
  std::optional<v1::PossessionProof> proof = std::nullopt;     // of a backup: its key is held
};

// The role of an issuer in a state of ca/v1/admin.proto; none if it is not to be pinned (retired).
std::optional<v1::IssuerPin::Role> PinRoleOf(absl::string_view authority_state);

// What is to be otherwise than in the set before. Without a set before: enforce, keep, a year.
struct DraftChanges {
  std::optional<v1::Signers> signers;  // required where there is no set before
  std::optional<v1::PinSet::Mode> mode;
  std::optional<v1::PinSet::OnExpiry> on_expiry;
  std::optional<bool> any_under_anchor;
  std::optional<absl::Duration> life;
  std::optional<std::string> freshness_key;  // SubjectPublicKeyInfo, DER; "": nobody's
  bool urgent = false;  // of this set alone
};

struct DraftedPinSet {
  std::string payload;  // what is to be signed
  PinSet set;           // of it
};

// Pins just `keys`: roots as anchors and, unless any_under_anchor, issuers. A backup without a
// proof takes over the one that the set before has of its key. The version is the next one.
// INVALID_ARGUMENT as ParsePinSet, which has passed what is returned; also where nobody is named
// who signs.
absl::StatusOr<DraftedPinSet> DraftPinSet(const TrustDomain& trust_domain,
                                          const std::optional<v1::PinSet>& before,
                                          const std::vector<KeyToPin>& keys,
                                          const DraftChanges& changes, absl::Time now);

}  // namespace linchpin::trust
