// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A small certificate authority and the messages that an agent would send under it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "gtest/gtest.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "x509/certificate.h"
#include "x509/certificate_builder.h"
#include "x509/key.h"

namespace linchpin::test {

inline constexpr char kWeb[] = "spiffe://example.org/web";
inline constexpr char kPayments[] = "spiffe://example.org/payments";
inline constexpr char kStranger[] = "spiffe://example.org/stranger";

struct Signer {
  x509::Certificate certificate;
  x509::PrivateKey key;
  std::string pin() const { return certificate.public_key().pin().bytes(); }
};

class World {
 public:
  World() : now_(Whole(base::SystemClock().Now())), root_(MakeRoot()), issuer_(MakeIssuer("one")) {}

  // Under the root; pinned only if added to `pinned` of a message.
  Signer MakeIssuer(const std::string& name) {
    x509::PrivateKey key = x509::PrivateKey::Generate(x509::KeyType::kP256).value();
    x509::CertificateSpec spec = CaSpec(name, 0);
    return {x509::SignCertificate(spec, key.public_key(), root_.certificate, root_.key).value(),
            key};
  }

  Signer MakeLeaf(const std::string& id, const Signer& issuer,
                  absl::Duration lifetime = absl::Hours(1)) {
    x509::PrivateKey key = x509::PrivateKey::Generate(x509::KeyType::kP256).value();
    x509::CertificateSpec spec;
    spec.common_name = "service";
    spec.serial = NextSerial();
    spec.not_before = now_ - absl::Minutes(1);
    spec.not_after = now_ + lifetime;
    spec.digital_signature = spec.server_auth = spec.client_auth = true;
    spec.uri_sans = {id};
    return {x509::SignCertificate(spec, key.public_key(), issuer.certificate, issuer.key).value(),
            key};
  }

  // What an agent sends to `id`: a leaf of the pinned issuer, both halves of web -> payments.
  agent::v1::MtlsContexts Contexts(const std::string& id) { return ContextsOf(id, issuer_); }

  agent::v1::MtlsContexts ContextsOf(const std::string& id, const Signer& issuer,
                                     absl::Duration lifetime = absl::Hours(1)) {
    agent::v1::MtlsContexts message;
    SetLeaf(&message, id, issuer, MakeLeaf(id, issuer, lifetime));
    agent::v1::TrustDomainContext* trust = message.add_trust_domains();
    trust->set_trust_domain("example.org");
    trust->add_anchors(root_.certificate.der());
    trust->add_issuers(issuer_.certificate.der());
    trust->set_epoch(1);
    trust->mutable_pins()->set_version(1);
    trust->mutable_pins()->set_is_signed(true);
    trust->mutable_pins()->set_mode(trust::v1::PinSet::ENFORCE);
    trust->mutable_pins()->add_anchors(root_.pin());
    trust->mutable_pins()->add_issuers(issuer_.pin());
    message.set_trust_epoch(1);
    message.set_consumer_id("consumer");
    Allow(&message, kWeb, kPayments);
    return message;
  }

  void SetLeaf(agent::v1::MtlsContexts* message, const std::string& id, const Signer& issuer,
               const Signer& leaf) {
    if (message->identities_size() == 0) message->add_identities();
    agent::v1::Identity* identity = message->mutable_identities(0);
    identity->set_spiffe_id(id);
    identity->clear_chain();
    identity->add_chain(leaf.certificate.der());
    identity->add_chain(issuer.certificate.der());
    identity->set_private_key(std::string(leaf.key.ToPkcs8().Reveal()));
  }

  static void Allow(agent::v1::MtlsContexts* message, const std::string& from,
                    const std::string& to) {
    const std::string& self = message->identities(0).spiffe_id();
    if (self != from && self != to) return;
    trust::v1::PeerRule* rule = message->mutable_identities(0)->add_rules();
    rule->set_from(from);
    rule->set_to(to);
    rule->set_outbound(true);
    rule->set_inbound(true);
  }

  static void Revoke(agent::v1::MtlsContexts* message, const std::string& id, absl::Time before) {
    trust::v1::Revocation* entry = message->mutable_trust_domains(0)->add_revocations();
    entry->set_spiffe_id(id);
    entry->set_issued_before(absl::ToUnixSeconds(before));
    entry->set_lapses_at(absl::ToUnixSeconds(before + absl::Hours(24)));
    NextEpoch(message);
  }

  static void NextEpoch(agent::v1::MtlsContexts* message) {
    message->set_trust_epoch(message->trust_epoch() + 1);
    message->mutable_trust_domains(0)->set_epoch(message->trust_epoch());
  }

  absl::Time now() const { return now_; }  // of its making
  const Signer& issuer() const { return issuer_; }
  const Signer& root() const { return root_; }

 private:
  static absl::Time Whole(absl::Time time) {
    return absl::FromUnixSeconds(absl::ToUnixSeconds(time));
  }

  std::string NextSerial() {
    ++serial_;
    return {'\x11', static_cast<char>(serial_ >> 8), static_cast<char>(serial_ & 0xff)};
  }

  x509::CertificateSpec CaSpec(const std::string& name, std::optional<int> path_length) {
    x509::CertificateSpec spec;
    spec.organization = "Example";
    spec.common_name = name;
    spec.serial = NextSerial();
    spec.not_before = now_ - absl::Hours(1);
    spec.not_after = now_ + absl::Hours(24);
    spec.is_ca = spec.key_cert_sign = spec.crl_sign = true;
    spec.path_length = path_length;
    spec.uri_sans = {"spiffe://example.org"};
    return spec;
  }

  Signer MakeRoot() {
    x509::PrivateKey key = x509::PrivateKey::Generate(x509::KeyType::kP256).value();
    return {x509::SelfSign(CaSpec("root", std::nullopt), key).value(), key};
  }

  absl::Time now_;
  int serial_ = 0;
  Signer root_;
  Signer issuer_;
};

}  // namespace linchpin::test
