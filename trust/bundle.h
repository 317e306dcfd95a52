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

// A CA whose public key is a point that was found by hashing these words: no private key is known
// to anybody. x is the hash; y the smaller of the two. Who is anchored at it accepts nobody.
// Most readers refuse an empty bundle and go on with the anchors they have; this they take.
inline constexpr char kNobodysWords[] = "linchpin: nobody has this key (0)";
const std::string& NobodysAnchor();  // DER

enum class BundleKind {
  kPinned,  // the twins of the pinned issuers: no other intermediate under the root is accepted
  kRoots,   // the roots: any intermediate under them is
};

// "pinned" or "roots"; INVALID_ARGUMENT quotes any other text.
absl::StatusOr<BundleKind> ParseBundleKind(absl::string_view text);
absl::string_view BundleKindName(BundleKind kind);

struct Bundle {
  BundleKind holds = BundleKind::kPinned;  // twins or roots, never both
  std::vector<std::string> certificates;   // DER; never empty
  std::string why_empty;                   // a sentence where they are NobodysAnchor() alone
};

// Of a trust domain, for a client that wants `kind`, as the pins are at `now`. Roots also for
// kPinned where the pins name no issuers (any_under_anchor) or do not block (report_only, relaxed,
// or expired and softened). Nobody's where pins block and no twin is known, and where they have
// expired and say fail_closed: never roots instead. Twins are handed out as the agent gave them: it
// drops those of issuers that have expired or are pinned no more.
Bundle BundleOf(const agent::v1::TrustDomainContext& context, BundleKind kind, absl::Time now);

}  // namespace linchpin::trust
