// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/bundle.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "trust/text.h"

namespace linchpin::trust {
namespace {

// As Judge's step 3: whether a leaf whose issuer is not pinned is refused.
bool Block(const v1::EffectivePins& pins, bool expired) {
  const bool relaxed = expired && pins.on_expiry() == v1::PinSet::RELAX;
  return pins.mode() == v1::PinSet::ENFORCE && !relaxed && !pins.any_under_anchor();
}

}  // namespace

absl::Time PinsExpireAt(const v1::EffectivePins& pins) {
  return pins.expires_at() == 0 ? absl::InfiniteFuture() : absl::FromUnixSeconds(pins.expires_at());
}

absl::StatusOr<BundleKind> ParseBundleKind(absl::string_view text) {
  for (const BundleKind kind : {BundleKind::kPinned, BundleKind::kRoots}) {
    if (text == BundleKindName(kind)) return kind;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a bundle is pinned or roots, not ", Quoted(text)));
}

absl::string_view BundleKindName(BundleKind kind) {
  return kind == BundleKind::kPinned ? "pinned" : "roots";
}

Bundle BundleOf(const agent::v1::TrustDomainContext& context, BundleKind kind, absl::Time now) {
  const v1::EffectivePins& pins = context.pins();
  const bool expired = now >= PinsExpireAt(pins);
  if (expired && pins.on_expiry() == v1::PinSet::FAIL_CLOSED &&
      pins.mode() == v1::PinSet::ENFORCE) {
    return {.holds = kind,
            .certificates = {},
            .why_empty = absl::StrCat("the bundle of ", context.trust_domain(),
                                      " is empty: pin set version ", pins.version(), " expired at ",
                                      TimeText(PinsExpireAt(pins)),
                                      " and says fail_closed; publish a newer set")};
  }
  if (kind == BundleKind::kRoots || !Block(pins, expired)) {
    return {.holds = BundleKind::kRoots,
            .certificates = {context.anchors().begin(), context.anchors().end()},
            .why_empty = context.anchors().empty()
                             ? absl::StrCat("the bundle of ", context.trust_domain(),
                                            " is empty: it has no anchor")
                             : ""};
  }
  return {.holds = BundleKind::kPinned,
          .certificates = {context.twins().begin(), context.twins().end()},
          .why_empty = context.twins().empty()
                           ? absl::StrCat("the pinned bundle of ", context.trust_domain(),
                                          " is empty: no twin of a pinned issuer is known; until "
                                          "the CA sends one nobody is accepted")
                           : ""};
}

}  // namespace linchpin::trust
