// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Both dialogues of Envoy's secret discovery, without the wire: requests and contexts go in,
// responses come out. What an API adds is reading, writing and who the caller is.
//
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol. Ours to choose were: a name
// that the caller has no secret for is left out until there is one; a response that was refused is
// not sent again before its contents change; what is sent is what holds when it is written; whom
// `default` means is decided once for a stream: where that identity is withdrawn no other takes its
// place.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/deliver/envoy_secrets.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "trust/spiffe_id.h"

namespace linchpin::agent {

namespace discovery = envoy::service::discovery::v3;

inline constexpr char kSecretType[] =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

// Both kinds of responses hold private keys, in serialized form.
void Wipe(discovery::DiscoveryResponse* response);
void Wipe(discovery::DeltaDiscoveryResponse* response);

// What both dialogues have in common. Not safe for concurrent use.
class SecretStream {
 public:
  static constexpr size_t kMaxNames = 1024;
  static constexpr size_t kMaxNameBytes = trust::SpiffeId::kMaxLength + 64;
  static constexpr size_t kMaxNamesBytes =
      64 * 1024;  // of a stream: who has no identity holds them

  // `name` begins the nonces.
  SecretStream(std::string name, trust::BundleKind kind)
      : name_(std::move(name)),
        anchors_{kind, absl::InfinitePast()},
        self_(std::make_shared<const EnvoySelf>()) {}

  // The caller's contexts from now on.
  void Use(absl::Time now, std::shared_ptr<const v1::MtlsContexts> contexts);

  // Names that it keeps count of: those asked for, and everything if that was asked for.
  size_t size() const { return entries_.size(); }
  // Whether peers are judged by what this stream carries: a stream of certificates only holds no
  // trust that somebody could wait for.
  bool HoldsTrust() const;
  // Which secrets that is, as a digest of their names; empty if there is none.
  std::string Carries() const;
  // News, once: the caller has accepted every secret asked for here that carries trust, as it is
  // at this epoch and digest.
  struct Accepted {
    uint64_t epoch = 0;
    std::string digest;
    bool operator==(const Accepted&) const = default;
  };
  std::optional<Accepted> TakeAccepted();
  // News, once a response: the caller refused it, and why (his text, fit for a log).
  std::optional<std::string> TakeRefusal();

 protected:
  struct Entry {
    bool by_name = false;                      // asked for by its name; else one of everything
    std::optional<EnvoySecrets::Known> known;  // as it is now
    std::string sent;      // version; empty: not held by the caller, as far as is known
    std::string sent_in;   // nonce
    std::string accepted;  // version; empty: he may have another than that
    bool carried_trust = false;
    bool told_absent = false;
  };

  // INVALID_ARGUMENT.
  absl::Status Begin(absl::string_view type_url, bool has_node,
                     const envoy::config::core::v3::Node& node);
  absl::Status CheckNames(const std::set<std::string>& names) const;
  void Look(const std::string& name, Entry* entry) const;
  std::set<std::string> Everything() const;  // the names of it, if that was asked for
  void Add(const std::set<std::string>& names);
  void Sent(Entry* entry) const;
  std::string NextNonce();
  void Pack(const std::string& name, google::protobuf::Any* out) const;
  void Refuse(const std::string& nonce, const google::rpc::Status& why);
  bool has_secrets() const { return secrets_.has_value(); }

  std::map<std::string, Entry> entries_;
  bool everything_ = false;
  std::string nonce_;  // of the last response

 private:
  const std::string name_;
  uint64_t responses_ = 0;
  bool node_seen_ = false;  // the first decides the style
  EnvoyStyle style_;
  EnvoyAnchors anchors_;
  std::shared_ptr<const EnvoySelf> self_;
  std::shared_ptr<const v1::MtlsContexts> contexts_;
  std::optional<EnvoySecrets> secrets_;  // of contexts_; none before there are identities
  std::optional<Accepted> told_;
  std::string refused_;  // the nonce
  std::optional<std::string> refusal_;
};

// StreamSecrets: a response is everything that was asked for.
class WholeSecretStream final : public SecretStream {
 public:
  using Request = discovery::DiscoveryRequest;
  using Response = discovery::DiscoveryResponse;
  using SecretStream::SecretStream;

  // INVALID_ARGUMENT: the stream is to end so.
  absl::Status Take(const Request& request);
  // What is to be sent now, if anything; ask when the last one is written. Wipes itself.
  std::shared_ptr<const Response> Next();

 private:
  void Answered(const Request& request);
  bool AreNamed(const std::set<std::string>& names) const;  // these and no others
  bool begun_ = false;
  bool named_ = false;  // something, ever
  bool owed_ = false;   // an answer to other names, also with the same contents
  std::string version_;
};

// DeltaSecrets: a response is what changed.
class DeltaSecretStream final : public SecretStream {
 public:
  using Request = discovery::DeltaDiscoveryRequest;
  using Response = discovery::DeltaDiscoveryResponse;
  using SecretStream::SecretStream;

  absl::Status Take(const Request& request);
  std::shared_ptr<const Response> Next();

 private:
  std::set<std::string> NamesAfter(const Request& request) const;
  void Subscribe(const std::string& name);
  void Unsubscribe(const std::string& name);
  void Recall(const Request& request);
  bool begun_ = false;
};

}  // namespace linchpin::agent
