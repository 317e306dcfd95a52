// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/profile.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/issuer_request.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

constexpr absl::Duration kShortestLife = absl::Seconds(1);
constexpr absl::Duration kLongestLife = absl::Hours(24 * 366 * 50);

absl::Time WholeSeconds(absl::Time time) {
  return absl::FromUnixSeconds(absl::ToUnixSeconds(time));
}

// What a key is called in subjects: enough of its pin to tell keys apart.
std::string ShortName(const x509::PublicKey& key) {
  return absl::BytesToHexString(key.pin().bytes().substr(0, 8));
}

absl::Status CheckLife(absl::string_view name, absl::Duration life) {
  if (life >= kShortestLife && life <= kLongestLife) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", absl::FormatDuration(life), "; 1s to 50 years are allowed"));
}

absl::Status CheckNests(absl::string_view name, absl::Duration life, absl::string_view in_name,
                        absl::Duration in) {
  if (life <= in) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " is ", absl::FormatDuration(life),
                                                 ", longer than ", in_name, ", which is ",
                                                 absl::FormatDuration(in), "; lifetimes nest"));
}

}  // namespace

absl::Status Profile::Check() const {
  RETURN_IF_ERROR(CheckLife("authority.root_ttl", root_ttl));
  RETURN_IF_ERROR(CheckLife("authority.issuer_ttl", issuer_ttl));
  RETURN_IF_ERROR(CheckLife("authority.node_ttl", node_ttl));
  RETURN_IF_ERROR(CheckLife("authority.leaf_ttl", leaf_ttl));
  RETURN_IF_ERROR(CheckNests("authority.issuer_ttl", issuer_ttl, "authority.root_ttl", root_ttl));
  RETURN_IF_ERROR(CheckNests("authority.node_ttl", node_ttl, "authority.issuer_ttl", issuer_ttl));
  RETURN_IF_ERROR(CheckNests("authority.leaf_ttl", leaf_ttl, "authority.issuer_ttl", issuer_ttl));
  if (backdate < absl::ZeroDuration() || backdate > absl::Hours(1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "authority.backdate is ", absl::FormatDuration(backdate), "; 0s to 1h are allowed"));
  }
  return absl::OkStatus();
}

std::string NewSerial(base::Random& random) {
  std::string serial = base::RandomBytes(random, 16);
  serial[0] = static_cast<char>((serial[0] & 0x7f) | 0x40);
  return serial;
}

x509::CertificateSpec RootSpec(const Profile& profile, const x509::PublicKey& key, absl::Time now,
                               base::Random& random) {
  x509::CertificateSpec spec;
  spec.organization = profile.trust_domain.name().substr(0, 64);
  spec.common_name = absl::StrCat("Linchpin root ", ShortName(key));
  spec.serial = NewSerial(random);
  spec.not_before = WholeSeconds(now - profile.backdate);
  spec.not_after = WholeSeconds(now + profile.root_ttl);
  spec.is_ca = true;
  spec.key_cert_sign = true;
  spec.crl_sign = true;
  spec.uri_sans = {profile.trust_domain.IdString()};
  return spec;
}

x509::CertificateSpec IssuerSpec(const Profile& profile, const x509::PublicKey& key,
                                 const x509::Certificate& root, absl::Time now,
                                 base::Random& random) {
  x509::CertificateSpec spec;
  spec.organization = profile.trust_domain.name().substr(0, 64);
  spec.common_name = trust::IssuerName(key);
  spec.serial = NewSerial(random);
  spec.not_before = std::max(WholeSeconds(now - profile.backdate), root.fields().not_before);
  spec.not_after = std::min(WholeSeconds(now + profile.issuer_ttl), root.fields().not_after);
  spec.is_ca = true;
  spec.path_length = 0;
  spec.key_cert_sign = true;
  spec.crl_sign = true;
  spec.uri_sans = {profile.trust_domain.IdString()};
  return spec;
}

absl::StatusOr<x509::CertificateSpec> LeafSpec(const Profile& profile, LeafNames names,
                                               absl::Duration ttl, const x509::Certificate& issuer,
                                               absl::Time now, base::Random& random) {
  const x509::CertificateFields& of_issuer = issuer.fields();
  x509::CertificateSpec spec;
  spec.serial = NewSerial(random);
  spec.not_before = std::max(WholeSeconds(now - profile.backdate), of_issuer.not_before);
  spec.not_after = std::min(WholeSeconds(now + ttl), of_issuer.not_after);
  if (spec.not_after <= now || spec.not_before >= spec.not_after) {
    return absl::FailedPreconditionError(
        absl::StrCat("no certificate can be issued for ", names.spiffe_id, ": the issuer ",
                     of_issuer.subject, " is valid from ", trust::TimeText(of_issuer.not_before),
                     " to ", trust::TimeText(of_issuer.not_after), " and it is ",
                     trust::TimeText(now), "; rotate the issuer, or check the clock"));
  }
  spec.digital_signature = true;
  spec.server_auth = true;
  spec.client_auth = true;
  spec.uri_sans = {std::move(names.spiffe_id)};
  spec.dns_sans = std::move(names.dns_names);
  return spec;
}

}  // namespace linchpin::ca
