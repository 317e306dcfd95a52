// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What happens to CaCore, as plain values. What it then wants done: actions.h.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/admin_request.h"
#include "ca/core/issued_matches.h"
#include "ca/core/outstanding.h"
#include "ca/store/store.h"
#include "linchpin/ca/v1/admin.pb.h"
#include "linchpin/ca/v1/node.pb.h"
#include "x509/certificate.h"
#include "x509/certificate_request.h"

namespace linchpin::ca {

// Given by the adaptor; never used twice.
using CallId = uint64_t;     // a call that waits for just one Reply
using SessionId = uint64_t;  // a Sync stream
// Given by the core to work whose completion it waits for.
using Ticket = uint64_t;

// How a node proves which node it is. A new attestor adds an alternative.
struct TokenEvidence {
  std::string token_sha256;  // 32 bytes
};
struct ExpiredCertificateEvidence {
  x509::Certificate certificate;  // of the node; the request must be for the same key
};
struct KubernetesEvidence {  // what the API server vouches for, of a token that the node showed
  std::string cluster;
  std::string node_name;
  std::string node_uid;
  std::string pod_uid;
};
using NodeEvidence = std::variant<TokenEvidence, ExpiredCertificateEvidence, KubernetesEvidence>;

// The judged peer of a call or stream.
struct NodeCaller {
  std::string node_id;
  std::string key_sha256;  // pin of the leaf that it showed
  std::string leaf = {};   // that leaf, DER; empty: only its key matters any more
};

struct IssueAskedItem {
  std::string identity_id;
  std::string request;  // DER, not looked at: that is dear, and has its turn
  // Until when the node, so it says, holds a certificate; the infinite past: it has none.
  absl::Time held_until = absl::InfinitePast();
};

// Certificates (DER), or why there is none: what the request asks for is refused.
using MadeCertificates = std::vector<absl::StatusOr<std::string>>;

namespace event {

struct Started {            // once, first
  Outstanding outstanding;  // of the issuance log
};
// Nodes. Requests were parsed, and possession verified, before; those of IssueAsked are not yet.
struct GetTrustAsked {
  CallId call = 0;
  v1::GetTrustRequest request;
};
struct AttestAsked {
  CallId call = 0;
  x509::CertificateRequest request;
  NodeEvidence evidence;
};
struct RenewAsked {
  CallId call = 0;
  NodeCaller caller;
  x509::CertificateRequest request;
};
struct IssueAsked {
  CallId call = 0;
  NodeCaller caller;
  std::vector<IssueAskedItem> items;
  absl::Time deadline = absl::InfiniteFuture();  // nobody waits for the answer from then on
};
// The first message of a stream. A later session of a node replaces an earlier one.
struct NodeHello {
  SessionId session = 0;
  NodeCaller caller;
  v1::Hello hello;
};
struct NodeAck {
  SessionId session = 0;
  v1::Ack ack;
};
struct NodeVerdicts {
  SessionId session = 0;
  v1::VerdictReport report;
};
struct NodeGone {
  SessionId session = 0;
};
// Operators.
struct AdminAsked {
  CallId call = 0;
  Asker who;
  AdminRequest request;
};
// Completions.
struct Committed {
  Ticket ticket = 0;
  absl::StatusOr<Revision> result;
};
struct Issued {  // signed *and* durably logged; or nothing was
  Ticket ticket = 0;
  absl::StatusOr<MadeCertificates> certificates;  // of the orders, in order
};
struct Reloaded {
  absl::StatusOr<Store::Listing> listing;  // of everything
};
struct ServingKeyMade {
  x509::PublicKey key;
};
struct PossessionProved {
  CallId call = 0;
  absl::StatusOr<trust::v1::PossessionProof> proof;
};
struct AuthoritiesMade {
  CallId call = 0;
  Asker who;
  Planned request;
  absl::StatusOr<std::vector<Write>> made;
};
struct IssuedFound {
  CallId call = 0;
  Asker who;
  v1::RevokeRequest asked;
  absl::StatusOr<IssuedMatches> found;
};
struct KeysSeen {
  std::set<std::string> key_names;  // that the key manager has now
};
struct Tick {                // at least every few seconds
  uint64_t log_entries = 0;  // that are durable in the issuance log
  std::string log_head;      // the hash of its chain up to there
};
struct Draining {};  // no new work; what is under way is finished

}  // namespace event

using Event = std::variant<event::Started, event::GetTrustAsked, event::AttestAsked,
                           event::RenewAsked, event::IssueAsked, event::NodeHello, event::NodeAck,
                           event::NodeVerdicts, event::NodeGone, event::AdminAsked,
                           event::Committed, event::Issued, event::Reloaded, event::ServingKeyMade,
                           event::PossessionProved, event::AuthoritiesMade, event::IssuedFound,
                           event::KeysSeen, event::Tick, event::Draining>;

}  // namespace linchpin::ca
