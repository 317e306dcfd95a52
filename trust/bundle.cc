// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/bundle.h"

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "trust/text.h"

namespace linchpin::trust {
namespace {

// As Judge's step 3: whether a leaf whose issuer is not pinned is refused.
bool Block(const v1::EffectivePins& pins, absl::Time now) {
  const bool relaxed = (pins.expired() && pins.on_expiry() == v1::PinSet::RELAX) ||
                       now < absl::FromUnixSeconds(pins.relaxed_until());
  return pins.mode() == v1::PinSet::ENFORCE && !relaxed;
}

Bundle Of(BundleKind holds, const google::protobuf::RepeatedPtrField<std::string>& certificates,
          const std::string& why_none) {
  if (certificates.empty()) {
    return {.holds = holds, .certificates = {NobodysAnchor()}, .why_empty = why_none};
  }
  return {
      .holds = holds, .certificates = {certificates.begin(), certificates.end()}, .why_empty = ""};
}

}  // namespace

const std::string& NobodysAnchor() {
  static const auto* const kDer = [] {
    auto* der = new std::string;
    absl::Base64Unescape(
        "MIIBbjCCARSgAwIBAgIBATAKBggqhkjOPQQDAjAcMRowGAYDVQQDDBFub2JvZHkg"
        "aXMgdHJ1c3RlZDAgFw0yMDAxMDEwMDAwMDBaGA85OTk5MTIzMTIzNTk1OVowHDEa"
        "MBgGA1UEAwwRbm9ib2R5IGlzIHRydXN0ZWQwWTATBgcqhkjOPQIBBggqhkjOPQMB"
        "BwNCAAS5g7MSnukvnx+RmqDrqvjEfCjcvugz8do/oKbuCpj221rJKRaiSqR1JoDv"
        "BmqQ3tAD/h6E6/IGBmXv7A7GwY1io0UwQzASBgNVHRMBAf8ECDAGAQH/AgEAMA4G"
        "A1UdDwEB/wQEAwICBDAdBgNVHQ4EFgQUdaCZrr9wtcNuORE9TCg/ojImlC8wCgYI"
        "KoZIzj0EAwIDSAAwRQIgbbcXUmjGJS2NOgFQrtjmipify0X7I/jMZU2Fio5C3FgC"
        "IQDuCtKyITsNdvLq43+rLZFmWIB39GBQN5BpHI6OHc5qGw==",
        der);
    return der;
  }();
  return *kDer;
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
  const bool blocks = Block(pins, now);
  if (blocks && pins.expired() && pins.on_expiry() == v1::PinSet::FAIL_CLOSED) {
    return Of(kind, {},
              absl::StrCat("the bundle of ", context.trust_domain(),
                           " accepts nobody: pin set version ", pins.version(), " expired at ",
                           TimeText(absl::FromUnixSeconds(pins.expires_at())),
                           " and says fail_closed; publish a newer set"));
  }
  if (kind == BundleKind::kRoots || !blocks || pins.any_under_anchor()) {
    return Of(BundleKind::kRoots, context.anchors(),
              absl::StrCat("the bundle of ", context.trust_domain(),
                           " accepts nobody: it has no anchor"));
  }
  return Of(BundleKind::kPinned, context.twins(),
            absl::StrCat("the pinned bundle of ", context.trust_domain(),
                         " accepts nobody: no twin of a pinned issuer is known, until the CA "
                         "sends one"));
}

}  // namespace linchpin::trust
