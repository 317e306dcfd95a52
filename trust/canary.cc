// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/canary.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/judge.h"
#include "trust/text.h"
#include "x509/certificate_builder.h"

namespace linchpin::trust {
namespace {

constexpr int kMostCanaries = 16;
constexpr size_t kMostWhy = 512;

// Why it is refused; empty if it is not.
std::string WhyRefused(const std::shared_ptr<const TrustState>& state, const v1::Canary& canary,
                       absl::Time now) {
  MtlsContextParts parts;
  parts.trust.emplace(state->trust_domain(), state);
  const auto context = MtlsContext::Make(std::move(parts));
  if (!context.ok()) return std::string(context.status().message());
  const Verdict verdict =
      Judge({canary.leaf()}, **context, Direction::kOutbound, Expect::Canary(), now, nullptr);
  if (!verdict.allowed) return verdict.ToString();
  const bool of_issuer = verdict.path.size() > 1 &&
                         verdict.path[1].public_key().pin().bytes() == canary.issuer_key_sha256();
  return of_issuer ? "" : "it is not signed by the issuer that it is said to be of";
}

}  // namespace

absl::StatusOr<x509::Certificate> MakeCanary(const TrustDomain& trust_domain,
                                             const x509::Certificate& issuer,
                                             const x509::PrivateKey& issuer_key,
                                             absl::string_view serial) {
  x509::CertificateSpec spec;
  spec.serial = std::string(serial);
  spec.not_before = issuer.fields().not_before;
  spec.not_after = issuer.fields().not_after;
  spec.digital_signature = true;
  spec.server_auth = true;
  spec.client_auth = true;
  spec.uri_sans = {CanaryId(trust_domain).ToString()};
  return x509::SignCertificate(spec, issuer_key.public_key(), issuer, issuer_key);
}

absl::Status CheckCanary(const TrustDomain& trust_domain, const x509::Certificate& issuer,
                         absl::string_view leaf_der) {
  ASSIGN_OR_RETURN(const x509::Certificate leaf, x509::Certificate::FromDer(leaf_der));
  const x509::CertificateFields& fields = leaf.fields();
  const std::string id = CanaryId(trust_domain).ToString();
  if (fields.uri_sans.size() == 1 && fields.uri_sans[0] == id && !fields.is_ca &&
      leaf.public_key() == issuer.public_key() && leaf.IsSignedBy(issuer.public_key())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("what was sent is no canary of ", issuer.fields().subject, ": a leaf for ", id,
                   " is expected, of the issuer's own key and signed by it"));
}

std::vector<v1::CanaryVerdict> JudgeCanaries(
    const std::shared_ptr<const TrustState>& state,
    const google::protobuf::RepeatedPtrField<v1::Canary>& canaries, absl::Time now) {
  std::vector<v1::CanaryVerdict> verdicts;
  for (int i = 0; i < std::min(canaries.size(), kMostCanaries); ++i) {
    const std::string why = WhyRefused(state, canaries[i], now);
    v1::CanaryVerdict verdict;
    verdict.set_issuer_key_sha256(canaries[i].issuer_key_sha256());
    verdict.set_good(why.empty());
    verdict.set_why(std::string(Beginning(why, kMostWhy)));
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

}  // namespace linchpin::trust
