// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What is enforced for one trust domain: anchors, issuers, effective pins, revocations. Immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/revocation.h"
#include "trust/spiffe_id.h"
#include "x509/certificate.h"
#include "x509/spki_pin.h"

namespace linchpin::trust {

struct TrustStateParts {
  TrustDomain trust_domain;
  uint64_t epoch = 0;
  x509::Chain anchors;  // roots
  x509::Chain issuers;  // path candidates
  v1::EffectivePins pins;
  Revocations revocations;
  absl::Duration skew = absl::Seconds(60);
};

class TrustState {
 public:
  // Keeps only the anchors whose key is among pins.anchors; dropped_anchors() names the rest.
  // FAILED_PRECONDITION if none is left; INVALID_ARGUMENT for pins that are not 32 bytes and for a
  // kept anchor that is not self-signed (otherwise whoever sends it could redate a pinned root).
  static absl::StatusOr<std::shared_ptr<const TrustState>> Make(TrustStateParts parts);

  const TrustDomain& trust_domain() const { return parts_.trust_domain; }
  uint64_t epoch() const { return parts_.epoch; }
  const x509::Chain& anchors() const { return parts_.anchors; }
  const x509::Chain& issuers() const { return parts_.issuers; }
  const v1::EffectivePins& pins() const { return parts_.pins; }
  const Revocations& revocations() const { return parts_.revocations; }
  absl::Duration skew() const { return parts_.skew; }
  const std::vector<x509::SpkiPin>& dropped_anchors() const { return dropped_anchors_; }

  bool IsIssuerPinned(const x509::SpkiPin& pin) const;
  // Over trust domain, anchors, issuers, pins, revocations and skew; not over the epoch, so that an
  // epoch that changed nothing here changes no cache.
  const std::string& digest() const { return digest_; }
  // Over what decides whether a path is valid at a given time: anchors, issuers, skew.
  const std::string& path_digest() const { return path_digest_; }

 private:
  explicit TrustState(TrustStateParts parts) : parts_(std::move(parts)) {}
  TrustStateParts parts_;
  std::vector<x509::SpkiPin> issuer_pins_;  // sorted
  std::vector<x509::SpkiPin> dropped_anchors_;
  std::string digest_;
  std::string path_digest_;
};

}  // namespace linchpin::trust
