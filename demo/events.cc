// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "demo/events.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace linchpin::demo {
namespace {

using nlohmann::json;

void Print(const json& event) {
  const std::string line = event.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
}

const char* Name(tls::Notice::Kind kind) {
  switch (kind) {
    case tls::Notice::Kind::kIdentity:
      return "identity";
    case tls::Notice::Kind::kNoIdentity:
      return "no_identity";
    case tls::Notice::Kind::kAgentLost:
      return "agent_lost";
    case tls::Notice::Kind::kMessageRefused:
      return "message_refused";
    case tls::Notice::Kind::kPeerRefused:
      return "refused";
    case tls::Notice::Kind::kPeerNoLongerAllowed:
      return "no_longer_allowed";
    case tls::Notice::Kind::kConnectionAge:
      return "connection_age";
  }
  return "unknown";
}

}  // namespace

void Events::Notice(const tls::Notice& notice) {
  json event = {{"event", Name(notice.kind)}, {"text", notice.text}};
  if (!notice.identities.empty()) {
    const tls::IdentityInfo& own = notice.identities.front();
    event["spiffe_id"] = own.spiffe_id;
    event["serial"] = own.serial;
    event["issued_at"] = absl::ToUnixSeconds(own.issued_at);
    event["expires_at"] = absl::ToUnixSeconds(own.expires_at);
    event["trust_epoch"] = own.trust_epoch;
    event["trust_digest"] = own.trust_digest;
  }
  if (!notice.verdict.reason.empty()) {
    event["reason"] = notice.verdict.reason;
    event["detail"] = notice.verdict.detail;
    event["peer_id"] = notice.verdict.peer_id;
  }
  std::lock_guard lock(mutex_);
  Print(event);
}

void Events::Listening(int port) {
  std::lock_guard lock(mutex_);
  Print({{"event", "listening"}, {"port", port}});
}

void Events::Failed(const std::string& word, const std::string& text) {
  std::lock_guard lock(mutex_);
  ++failed_;
  ++reasons_[word];
  Print({{"event", "handshake"}, {"ok", false}, {"reason", word}, {"text", text}});
}

void Events::Succeeded(const std::string& peer, const std::string& group) {
  std::lock_guard lock(mutex_);
  ++ok_;
  if (greeted_ == peer + group) return;
  greeted_ = peer + group;
  Print({{"event", "handshake"}, {"ok", true}, {"peer_id", peer}, {"group", group}});
}

void Events::Counts() {
  std::lock_guard lock(mutex_);
  Print({{"event", "counts"}, {"ok", ok_}, {"failed", failed_}, {"reasons", reasons_}});
}

}  // namespace linchpin::demo
