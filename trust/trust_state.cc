// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/trust_state.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "x509/digest.h"

namespace linchpin::trust {
namespace {

constexpr int kMaxAnchors = 64;
constexpr int kMaxIssuers = 256;

absl::Status Malformed(const TrustDomain& trust_domain, absl::string_view fault) {
  return absl::InvalidArgumentError(
      absl::StrCat("the trust state of ", trust_domain.name(), " is malformed: ", fault));
}

absl::StatusOr<std::vector<x509::SpkiPin>> DecodePins(
    const TrustDomain& trust_domain, absl::string_view what,
    const google::protobuf::RepeatedPtrField<std::string>& entries) {
  std::vector<x509::SpkiPin> pins;
  for (int i = 0; i < entries.size(); ++i) {
    absl::StatusOr<x509::SpkiPin> pin = x509::SpkiPin::FromBytes(entries[i]);
    if (!pin.ok()) {
      return Malformed(trust_domain, absl::StrCat(what, " pin ", i, ": ", pin.status().message()));
    }
    pins.push_back(*pin);
  }
  std::sort(pins.begin(), pins.end());
  pins.erase(std::unique(pins.begin(), pins.end()), pins.end());
  return pins;
}

absl::Status CheckShape(const TrustStateParts& parts) {
  const v1::EffectivePins& pins = parts.pins;
  const size_t issuers = std::max<size_t>(parts.issuers.size(), pins.issuers_size());
  const size_t anchors = std::max<size_t>(parts.anchors.size(), pins.anchors_size());
  if (anchors > kMaxAnchors || issuers > kMaxIssuers) {
    return Malformed(parts.trust_domain, absl::StrCat("it has ", anchors, " anchors and ", issuers,
                                                      " issuers; at most ", kMaxAnchors, " and ",
                                                      kMaxIssuers, " are allowed"));
  }
  if (pins.mode() != v1::PinSet::ENFORCE && pins.mode() != v1::PinSet::REPORT_ONLY) {
    return Malformed(parts.trust_domain, "its pins say neither ENFORCE nor REPORT_ONLY");
  }
  if (!v1::PinSet::OnExpiry_IsValid(pins.on_expiry()) || pins.expires_at() < 0 ||
      pins.relaxed_until() < 0) {
    return Malformed(parts.trust_domain, "its pins' expiry is none that is known here");
  }
  if (parts.skew < absl::ZeroDuration() || parts.skew > absl::Hours(1)) {
    return Malformed(parts.trust_domain,
                     absl::StrCat("a skew allowance of ", absl::FormatDuration(parts.skew),
                                  "; 0 to 1h are allowed"));
  }
  return absl::OkStatus();
}

void SortByContent(x509::Chain* certificates) {
  std::sort(certificates->begin(), certificates->end(),
            [](const auto& a, const auto& b) { return a.sha256() < b.sha256(); });
  certificates->erase(std::unique(certificates->begin(), certificates->end()), certificates->end());
}

void AddCertificates(const x509::Chain& certificates, x509::FieldHasher* hasher) {
  hasher->Add(certificates.size());
  for (const x509::Certificate& certificate : certificates) hasher->Add(certificate.sha256());
}

void AddPins(const std::vector<x509::SpkiPin>& pins, x509::FieldHasher* hasher) {
  hasher->Add(pins.size());
  for (const x509::SpkiPin& pin : pins) hasher->Add(pin.bytes());
}

std::string DigestOf(const TrustStateParts& parts, const std::vector<x509::SpkiPin>& anchor_pins,
                     const std::vector<x509::SpkiPin>& issuer_pins) {
  x509::FieldHasher hasher("linchpin trust state v1");
  hasher.Add(parts.trust_domain.name());
  AddCertificates(parts.anchors, &hasher);
  AddCertificates(parts.issuers, &hasher);
  const v1::EffectivePins& pins = parts.pins;
  AddPins(anchor_pins, &hasher);
  AddPins(issuer_pins, &hasher);
  hasher.Add(pins.version())
      .Add(uint64_t{pins.is_signed()})
      .Add(static_cast<uint64_t>(pins.mode()))
      .Add(uint64_t{pins.any_under_anchor()})
      .Add(static_cast<uint64_t>(pins.expires_at()))
      .Add(static_cast<uint64_t>(pins.on_expiry()))
      .Add(uint64_t{pins.urgent()})
      .Add(uint64_t{pins.expired()})
      .Add(static_cast<uint64_t>(pins.relaxed_until()));
  hasher.Add(parts.revocations.entries().size());
  for (const v1::Revocation& entry : parts.revocations.entries()) {
    hasher.Add(entry.SerializeAsString());
  }
  hasher.Add(static_cast<uint64_t>(absl::ToInt64Milliseconds(parts.skew)));
  return hasher.Finish();
}

std::string PathDigestOf(const TrustStateParts& parts) {
  x509::FieldHasher hasher("linchpin path digest v1");
  hasher.Add(parts.trust_domain.name());
  AddCertificates(parts.anchors, &hasher);
  AddCertificates(parts.issuers, &hasher);
  hasher.Add(static_cast<uint64_t>(absl::ToInt64Nanoseconds(parts.skew)));
  return hasher.Finish();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TrustState>> TrustState::Make(TrustStateParts parts) {
  RETURN_IF_ERROR(CheckShape(parts));
  ASSIGN_OR_RETURN(const std::vector<x509::SpkiPin> anchor_pins,
                   DecodePins(parts.trust_domain, "anchor", parts.pins.anchors()));
  ASSIGN_OR_RETURN(std::vector<x509::SpkiPin> issuer_pins,
                   DecodePins(parts.trust_domain, "issuer", parts.pins.issuers()));
  SortByContent(&parts.anchors);
  SortByContent(&parts.issuers);

  std::vector<x509::SpkiPin> dropped;
  x509::Chain kept;
  for (const x509::Certificate& anchor : parts.anchors) {
    const x509::SpkiPin& pin = anchor.public_key().pin();
    if (!std::binary_search(anchor_pins.begin(), anchor_pins.end(), pin)) {
      dropped.push_back(pin);
      continue;
    }
    // A pin names the key alone: what the root says of itself counts only if that key signed it.
    if (!anchor.IsSelfIssued() || !anchor.IsSignedBy(anchor.public_key())) {
      return Malformed(parts.trust_domain,
                       absl::StrCat("the root with the pinned key ", pin.ToString(),
                                    " is not signed by itself"));
    }
    kept.push_back(anchor);
  }
  if (kept.empty()) {
    const auto to_text = [](std::string* out, const x509::SpkiPin& pin) {
      absl::StrAppend(out, pin.ToString());
    };
    return absl::FailedPreconditionError(
        absl::StrCat("no anchor of ", parts.trust_domain.name(), " is left: its pins name ",
                     absl::StrJoin(anchor_pins, ", ", to_text), ", the roots offered have ",
                     dropped.empty() ? "no key" : absl::StrJoin(dropped, ", ", to_text)));
  }
  parts.anchors = std::move(kept);

  std::shared_ptr<TrustState> state(new TrustState(std::move(parts)));
  state->digest_ = DigestOf(state->parts_, anchor_pins, issuer_pins);
  state->path_digest_ = PathDigestOf(state->parts_);
  state->issuer_pins_ = std::move(issuer_pins);
  state->dropped_anchors_ = std::move(dropped);
  return std::shared_ptr<const TrustState>(std::move(state));
}

bool TrustState::IsIssuerPinned(const x509::SpkiPin& pin) const {
  return std::binary_search(issuer_pins_.begin(), issuer_pins_.end(), pin);
}

}  // namespace linchpin::trust
