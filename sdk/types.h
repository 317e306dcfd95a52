// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Plain values that the library hands to a service.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace linchpin::tls {

// Why a peer may, or may not, be talked to. `reason` is one word of docs/formats.md
// ("ISSUER_NOT_PINNED"), empty if allowed; `detail` is a sentence for a log, also of what is only
// reported (a pin set in report_only, a policy in audit). `peer_id` is empty unless the peer's
// certificate validated: an unauthenticated name is an attacker's text.
struct PeerVerdict {
  bool allowed = false;
  std::string reason;
  std::string detail;
  std::string peer_id;

  std::string ToString() const { return allowed ? "allowed " + peer_id : reason + ": " + detail; }
};

// One identity of this process, as now in force. The digest stands for all that peers are judged
// by (anchors, pins, revocations, policy); a renewal changes `serial` and `expires_at` only.
struct IdentityInfo {
  std::string spiffe_id;
  std::string serial;  // of the leaf, hexadecimal
  absl::Time issued_at;
  absl::Time expires_at;
  uint64_t trust_epoch = 0;
  std::string trust_digest;  // hexadecimal
};

// Something worth a line in the service's log.
struct Notice {
  enum class Kind {
    kIdentity,             // contexts were put in force: `identities`
    kNoIdentity,           // the agent knows no identity for this process; what was in force stays,
                           // its trust is kept current
    kAgentLost,            // the agent cannot be reached; what was in force stays
    kMessageRefused,       // the agent's message was malformed; what was in force stays
    kPeerRefused,          // in a handshake: `verdict`; at most ten a second are said
    kPeerNoLongerAllowed,  // a live connection: `verdict`
    kConnectionAge,        // a live connection has reached max_connection_age
  };
  Kind kind;
  std::string text;  // a sentence
  std::vector<IdentityInfo> identities;
  PeerVerdict verdict;
};

}  // namespace linchpin::tls
