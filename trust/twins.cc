// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/twins.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "trust/text.h"
#include "x509/certificate_builder.h"
#include "x509/path.h"

namespace linchpin::trust {
namespace {

constexpr int kMaxTwins = 256;

const Twin* Find(const CheckedTwins& before, const std::string& der) {
  const auto it = std::find_if(before.twins.begin(), before.twins.end(),
                               [&der](const Twin& twin) { return twin.der == der; });
  return it == before.twins.end() ? nullptr : &*it;
}

const x509::Certificate* IssuerOf(const x509::Certificate& twin, const TrustState& state) {
  for (const x509::Certificate& issuer : state.issuers()) {
    if (issuer.public_key() == twin.public_key() && x509::IsTwinOf(twin, issuer)) return &issuer;
  }
  return nullptr;
}

bool IsRevoked(const x509::Certificate& issuer, const Revocations& revocations) {
  const std::string pin = issuer.public_key().pin().bytes();
  return std::any_of(revocations.entries().begin(), revocations.entries().end(),
                     [&](const v1::Revocation& entry) { return entry.key_sha256() == pin; });
}

absl::StatusOr<Twin> Recognise(const TrustState& state, const std::string& der,
                               const CheckedTwins& before) {
  const Twin* known = Find(before, der);
  if (known != nullptr && std::find(state.issuers().begin(), state.issuers().end(),
                                    known->issuer) != state.issuers().end()) {
    return *known;
  }
  absl::StatusOr<x509::Certificate> twin = x509::Certificate::FromDer(der);
  if (!twin.ok()) return twin.status();
  const x509::Certificate* issuer = IssuerOf(*twin, state);
  if (issuer != nullptr) return Twin{der, twin->fields().not_after, *issuer};
  return absl::InvalidArgumentError(absl::StrCat(Quoted(twin->fields().subject), " with the key ",
                                                 twin->public_key().pin().ToString(),
                                                 " is a twin of no issuer that is known"));
}

// OK with a twin to keep, OK with none for one that is left out, or what is wrong.
absl::StatusOr<std::optional<Twin>> Check(const TrustState& state, absl::StatusOr<Twin> twin,
                                          absl::Time now) {
  if (!twin.ok()) return twin.status();
  const x509::Certificate& issuer = twin->issuer;
  if (!state.IsIssuerPinned(issuer.public_key().pin())) return std::nullopt;
  if (IsRevoked(issuer, state.revocations())) return std::nullopt;
  const absl::Time at = std::clamp(now, issuer.fields().not_before,
                                   std::max(issuer.fields().not_before, issuer.fields().not_after));
  const x509::Chain chain = {issuer};
  const x509::Chain candidates;
  const x509::PathResult path = x509::ValidatePath({.chain = chain,
                                                    .anchors = state.anchors(),
                                                    .candidates = candidates,
                                                    .now = at,
                                                    .skew = state.skew()});
  if (!path.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("its issuer ", Quoted(issuer.fields().subject),
                                                   " has no path to an anchor: ", path.detail));
  }
  return *std::move(twin);
}

}  // namespace

CheckedTwins CheckTwins(const TrustState& state,
                        const google::protobuf::RepeatedPtrField<std::string>& offered,
                        absl::Time now, const CheckedTwins& before) {
  CheckedTwins checked;
  const auto fault = [&](absl::string_view what, absl::string_view why) {
    checked.faults.push_back(
        absl::StrCat(what, " of ", state.trust_domain().name(), " is left out: ", why));
  };
  std::set<std::string> seen;
  for (int i = 0; i < std::min(offered.size(), kMaxTwins); ++i) {
    if (!seen.insert(offered[i]).second) continue;
    absl::StatusOr<std::optional<Twin>> twin =
        Check(state, Recognise(state, offered[i], before), now);
    if (!twin.ok()) {
      fault(absl::StrCat("twin ", i), twin.status().message());
    } else if (twin->has_value()) {
      checked.twins.push_back(**std::move(twin));
    }
  }
  if (offered.size() > kMaxTwins) {
    fault(absl::StrCat("each of the ", offered.size() - kMaxTwins, " twins after the first ",
                       kMaxTwins),
          "there are too many");
  }
  return checked;
}

}  // namespace linchpin::trust
