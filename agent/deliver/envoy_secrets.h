// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A caller's contexts as Envoy's secrets, by name:
//
//   default, or one of the caller's own IDs  certificate chain and key
//   ROOTCA, or spiffe://TRUST_DOMAIN         what peers of that trust domain are anchored at
//   ALL                                      the same of every trust domain, each for its own peers
//   peers:inbound, peers:outbound            the anchors and the names of the peers whom the policy
//                                            allows to the default identity
//   peers:inbound:OWN_ID                     the same of this identity of the caller
//   peers:outbound:SPIFFE_ID                 the anchors and this peer alone, if he is allowed
//
// Envoy lets everybody in whose name it is given no matcher for. So a secret of peers always has
// one: where nobody is allowed, one that no certificate can match. Envoy goes on with a secret that
// is withdrawn. So trust of a known trust domain is never absent: where there is nothing that peers
// could be anchored at, it is anchored at a key that nobody has.
#pragma once

#include <functional>
#include <map>
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
  bool spiffe_validator = false;
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

// Whom `default` and `peers:...` mean, also after he was withdrawn: who holds a certificate goes on
// with it and its rules until it expires, under the trust of now.
struct EnvoySelf {
  std::string default_id;               // empty: the first identity
  std::vector<v1::Identity> withdrawn;  // IDs and rules alone
};

// `self` at a message that follows another: with those whom `next` withdraws and `keep` wants, and
// without those who are back.
std::shared_ptr<const EnvoySelf> KeepWithdrawn(const EnvoySelf& self,
                                               const v1::MtlsContexts& before,
                                               const v1::MtlsContexts& next,
                                               const std::function<bool(const std::string&)>& keep);

// Not safe for concurrent use: it remembers what it has worked out.
class EnvoySecrets {
 public:
  EnvoySecrets(std::shared_ptr<const v1::MtlsContexts> contexts, EnvoyStyle style,
               EnvoyAnchors anchors,
               std::shared_ptr<const EnvoySelf> self = std::make_shared<const EnvoySelf>());

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
  // What peers of a trust domain are judged by.
  struct Domain {
    std::string name;
    std::string anchors;      // PEM; never empty
    bool has_anchors = true;  // else those are nobody's
    bool pinned = true;
    const v1::TrustDomainContext* context;
  };
  // Of one identity, in its trust domain, without the revoked; sorted.
  struct Allowed {
    std::vector<std::string> inbound;
    std::vector<std::string> outbound;
  };

  // Who is served; nobody: is not, or no more.
  const v1::Identity* Served(absl::string_view name) const;
  const v1::Identity* SelfOf(absl::string_view id) const;  // the withdrawn too
  const Domain* DomainNamed(absl::string_view name) const;
  static const std::string& AnchorsOf(
      const Domain& domain,
      envoy::extensions::transport_sockets::tls::v3::CertificateValidationContext* to);
  const Allowed& AllowedOf(const v1::Identity& self, const Domain& domain) const;
  // Of a name that is no identity's; nothing: no such secret.
  std::optional<EnvoySecret> Trust(absl::string_view name) const;
  std::optional<EnvoySecret> Bundle(const std::vector<const Domain*>& domains) const;
  std::optional<EnvoySecret> Peers(absl::string_view name) const;

  std::shared_ptr<const v1::MtlsContexts> contexts_;
  std::shared_ptr<const EnvoySelf> self_;
  EnvoyStyle style_;
  std::string default_id_;  // empty: there is none
  std::vector<Domain> domains_;
  mutable std::map<std::string, Allowed> allowed_;  // by own ID, once asked for
};

void WipeKey(EnvoySecret* secret);

}  // namespace linchpin::agent
