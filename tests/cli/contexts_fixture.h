// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What an agent would deliver to a service.
#pragma once

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "x509/certificate_builder.h"
#include "x509/key.h"

namespace linchpin::cli {

inline constexpr char kWebId[] = "spiffe://example.org/web";

struct ContextsWorld {
  const absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  x509::PrivateKey root_key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  x509::PrivateKey leaf_key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  agent::v1::MtlsContexts contexts;

  ContextsWorld() {
    x509::CertificateSpec root;
    root.common_name = "root";
    root.serial = "\x01";
    root.not_before = now;
    root.not_after = now + absl::Hours(1000);
    root.is_ca = true;
    root.key_cert_sign = true;
    const x509::Certificate anchor = Certified(x509::SelfSign(root, root_key));
    x509::CertificateSpec leaf;
    leaf.serial = "\x02";
    leaf.not_before = now;
    leaf.not_after = now + absl::Hours(1);
    leaf.digital_signature = true;
    leaf.uri_sans = {kWebId};
    const x509::Certificate certificate =
        Certified(x509::SignCertificate(leaf, leaf_key.public_key(), anchor, root_key));
    agent::v1::Identity* identity = contexts.add_identities();
    identity->set_spiffe_id(kWebId);
    identity->add_chain(certificate.der());
    identity->set_private_key(std::string(leaf_key.ToPkcs8().Reveal()));
    agent::v1::TrustDomainContext* domain = contexts.add_trust_domains();
    domain->set_trust_domain("example.org");
    domain->set_epoch(7);
    domain->add_anchors(anchor.der());
    domain->mutable_pins()->set_mode(trust::v1::PinSet::ENFORCE);
    domain->mutable_pins()->add_anchors(root_key.public_key().pin().bytes());
    contexts.add_selectors("unix:uid:1000");
  }

  void Allow(const std::string& from, const std::string& to) {
    trust::v1::PeerRule* rule = contexts.mutable_identities(0)->add_rules();
    rule->set_from(from);
    rule->set_to(to);
    rule->set_outbound(from == kWebId);
    rule->set_inbound(to == kWebId);
  }

 private:
  static x509::Certificate Certified(absl::StatusOr<x509::Certificate> made) {
    if (!made.ok()) ADD_FAILURE() << made.status();
    return *std::move(made);
  }
};

}  // namespace linchpin::cli
