// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a client that cannot pin is anchored at: Envoy, nginx, Go, Java, openssl. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "linchpin/agent/v1/mtls_context.pb.h"

namespace linchpin::trust {

// When what BundleOf() answers changes by itself; the infinite future if never.
absl::Time PinsExpireAt(const v1::EffectivePins& pins);

enum class BundleKind {
  kPinned,  // the twins of the pinned issuers: no other intermediate under the root is accepted
  kRoots,   // the roots: any intermediate under them is
};

// "pinned" or "roots"; INVALID_ARGUMENT quotes any other text.
absl::StatusOr<BundleKind> ParseBundleKind(absl::string_view text);
absl::string_view BundleKindName(BundleKind kind);

struct Bundle {
  BundleKind holds = BundleKind::kPinned;  // twins or roots, never both
  std::vector<std::string> certificates;   // DER
  std::string why_empty;  // a sentence where there is none: such a client accepts nobody
};

// Of a trust domain, for a client that wants `kind`, as the pins are at `now`. Roots also for
// kPinned where the pins name no issuers (any_under_anchor) or do not block (report_only, or
// expired and relaxed). Empty where pins block and no twin is known, and where they have expired
// and say fail_closed: never roots instead. Twins are handed out as the agent gave them: it drops
// those of issuers that have expired or are pinned no more.
Bundle BundleOf(const agent::v1::TrustDomainContext& context, BundleKind kind, absl::Time now);

}  // namespace linchpin::trust
