// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The certificate profiles: every certificate that this CA makes is specified here. Lifetimes nest
// (leaf <= issuer <= root) by clamping. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/random.h"
#include "trust/spiffe_id.h"
#include "x509/certificate.h"
#include "x509/certificate_builder.h"
#include "x509/key.h"

namespace linchpin::ca {

constexpr absl::Duration kUsualIssuerTtl = absl::Hours(2160);

struct Profile {
  trust::TrustDomain trust_domain;
  absl::Duration root_ttl = absl::Hours(87600);
  absl::Duration issuer_ttl = kUsualIssuerTtl;
  absl::Duration leaf_ttl = absl::Hours(1);  // of identities that name none, and the default
  absl::Duration node_ttl = absl::Hours(24);
  absl::Duration backdate = absl::Seconds(60);    // of everything; may be 0
  x509::KeyType key_type = x509::KeyType::kP256;  // of authorities
  bool external_root = false;                     // new roots are made, and kept, elsewhere

  // INVALID_ARGUMENT names the lifetime that is too short, or longer than what it must nest in.
  absl::Status Check() const;
};

// 16 random bytes, positive, without a leading zero.
std::string NewSerial(base::Random& random);

x509::CertificateSpec RootSpec(const Profile& profile, const x509::PublicKey& key, absl::Time now,
                               base::Random& random);
// Of an issuing CA under `root`: own subject, pathLen 0, the trust domain as its only URI SAN
// (X509-SVID §4.1: a signing certificate "MAY" have a SPIFFE ID, without a path).
x509::CertificateSpec IssuerSpec(const Profile& profile, const x509::PublicKey& key,
                                 const x509::Certificate& root, absl::Time now,
                                 base::Random& random);

struct LeafNames {
  std::string spiffe_id;
  std::vector<std::string> dns_names;
};
// An X509-SVID: empty subject, so the SAN is critical; for servers and clients alike. Workloads,
// nodes and the CA itself differ in names and lifetime only. FAILED_PRECONDITION: `issuer` has
// expired.
absl::StatusOr<x509::CertificateSpec> LeafSpec(const Profile& profile, LeafNames names,
                                               absl::Duration ttl, const x509::Certificate& issuer,
                                               absl::Time now, base::Random& random);

}  // namespace linchpin::ca
