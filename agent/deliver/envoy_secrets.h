// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A caller's contexts as Envoy's secrets, by name:
//
//   default, or one of the caller's own IDs  certificate chain and key
//   ROOTCA, or spiffe://TRUST_DOMAIN         what peers of that trust domain are anchored at
//   ALL                                      the same of every trust domain, each for its own peers
//   peers:inbound, peers:outbound            the anchors and the names of the peers whom the policy
//                                            allows to the default identity
//   peers:outbound:SPIFFE_ID                 the anchors and this peer alone, if he is allowed
//
// Envoy lets everybody in whose name it is given no matcher for. So a secret of peers always has
// one: where nobody is allowed, one that no certificate can match. Where there is nothing that
// peers could be anchored at nobody is allowed either; the other secrets are not there then, and an
// Envoy that has them goes on with them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "trust/bundle.h"
#include "trust/peer_policy.h"

namespace linchpin::agent {

using EnvoySecret = envoy::extensions::transport_sockets::tls::v3::Secret;

inline constexpr char kDefaultSecret[] = "default";
inline constexpr char kRootSecret[] = "ROOTCA";
inline constexpr char kAllSecret[] = "ALL";
inline constexpr char kInboundPeersSecret[] = "peers:inbound";
inline constexpr char kOutboundPeersSecret[] = "peers:outbound";
// What nobody is called: not a SPIFFE ID, and not a URI either.
inline constexpr char kNobody[] = "nobody: the policy allows no peer";

struct EnvoyStyle {
  // Bundles are for Envoy's SPIFFE validator, which keeps trust domains apart; otherwise they are
  // anchors for its own.
  bool spiffe_validator = true;
  bool operator==(const EnvoyStyle&) const = default;
};

// Envoy has the SPIFFE validator since 1.18; a node that tells no version, or has the metadata
// `disable_spiffe_cert_validation` (true, or the word), does without.
EnvoyStyle StyleOf(const envoy::config::core::v3::Node& node);

// What peers are anchored at (trust/bundle.h).
struct EnvoyAnchors {
  trust::BundleKind kind = trust::BundleKind::kPinned;
  absl::Time now;
};

// Immutable.
class EnvoySecrets {
 public:
  EnvoySecrets(std::shared_ptr<const v1::MtlsContexts> contexts, EnvoyStyle style,
               EnvoyAnchors anchors);

  // Everything, each under its proper name.
  std::vector<std::string> Names() const;

  struct Known {
    std::string version;    // changes with the content only
    bool is_trust = false;  // what peers are judged by; else a certificate
  };
  // Nothing: the caller has no such secret.
  std::optional<Known> Look(absl::string_view name) const;
  // A secret that Look() knows. It may hold a private key, which the caller wipes (WipeKey).
  EnvoySecret Render(absl::string_view name) const;

 private:
  const v1::Identity* IdentityOf(absl::string_view name) const;
  const v1::TrustDomainContext* TrustOf(absl::string_view trust_domain) const;
  // As PEM; empty: there is nothing. Sets in `to` what else is to hold of chains to them.
  std::string AnchorsOf(
      const v1::TrustDomainContext& domain,
      envoy::extensions::transport_sockets::tls::v3::CertificateValidationContext* to) const;
  // Of a name that is no identity's; nothing: no such secret.
  std::optional<EnvoySecret> Trust(absl::string_view name) const;
  std::optional<EnvoySecret> Bundle(
      const std::vector<const v1::TrustDomainContext*>& domains) const;
  std::optional<EnvoySecret> Peers(absl::string_view name) const;
  // Those of the trust domain, without the revoked.
  std::vector<std::string> AllowedPeers(trust::Direction direction,
                                        const v1::TrustDomainContext& domain) const;

  std::shared_ptr<const v1::MtlsContexts> contexts_;
  EnvoyStyle style_;
  EnvoyAnchors anchors_;
  std::string own_domain_;  // of the default identity; empty: there is none
};

// `next`, or, where it withdraws every identity, a message that has the rules of those of `before`
// (without certificates and keys): who holds them goes on with them, under the trust of now.
std::shared_ptr<const v1::MtlsContexts> KeepRules(
    const std::shared_ptr<const v1::MtlsContexts>& before,
    std::shared_ptr<const v1::MtlsContexts> next);

void WipeKey(EnvoySecret* secret);

}  // namespace linchpin::agent
