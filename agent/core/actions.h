// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What AgentCore wants done: plain values, no I/O.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "agent/core/events.h"
#include "trust/mtls_context.h"

namespace linchpin::agent {

namespace action {

struct MakeNodeKey {};  // answer: NodeKeyMade
// Ask for nothing but GetTrust, over a connection that proves nothing: at first contact, and later
// when no connection passes. Answer: FirstContactDone.
struct FirstContact {
  ca::v1::GetTrustRequest request;
};
// Over a connection that `context` judged as the CA. Evidence is the adaptor's join token or, with
// `expired_certificate`, the node's old certificate. Answer: AttestDone.
struct Attest {
  std::shared_ptr<const trust::MtlsContext> context;  // without a certificate
  x509::PrivateKey key;
  std::string expired_certificate;  // DER; empty: the join token
};
// With a new key, over a connection with the context in use. Answer: NodeRenewed.
struct RenewNode {};
// Every later connection to the CA shows and judges with this. Answer: IdentityInUse.
struct UseNodeIdentity {
  uint64_t generation = 0;
  std::shared_ptr<const trust::MtlsContext> context;
};
// Durably, after what was asked to be sealed before. Answer: Sealed.
struct Seal {
  Ticket ticket = 0;
  std::shared_ptr<const state::v1::AgentState> state;
};
// A new key and request for each. Answer: IssueDone.
struct Issue {
  Ticket ticket = 0;
  std::vector<std::string> identity_ids;  // at most 256
  std::vector<absl::Time> held_until;     // of each; the infinite past: nothing is held
};
// Answers: SyncOpened, SyncReceived, SyncClosed, all with this stream.
struct OpenSync {
  Ticket stream = 0;
  ca::v1::Hello hello;
};
struct CloseSync {  // answer: SyncClosed
  Ticket stream = 0;
};
struct SendAck {
  Ticket stream = 0;
  ca::v1::Ack ack;
};
struct SendVerdicts {
  Ticket stream = 0;
  ca::v1::VerdictReport report;
};
// The complete set of a consumer; replaces what was delivered before, also what still waits.
struct Deliver {
  ConsumerId consumer;
  std::shared_ptr<const agent::v1::MtlsContexts> contexts;
};
// Nothing will be delivered to this consumer: its stream ends with the status.
struct EndConsumer {
  ConsumerId consumer;
  absl::Status status;
};
// TimerFired is due at `at`; replaces the timer set before.
struct SetTimer {
  absl::Time at;
};
// Somebody must look: a warning in the log, and one more in `counter` if that is not empty.
struct Alarm {
  std::string text;
  std::string counter;
  std::vector<std::pair<std::string, std::string>> labels;
};
// Likewise, of what goes well.
struct Note {
  std::string text;
  std::string counter;
  std::vector<std::pair<std::string, std::string>> labels;
};

}  // namespace action

using Action =
    std::variant<action::MakeNodeKey, action::FirstContact, action::Attest, action::RenewNode,
                 action::UseNodeIdentity, action::Seal, action::Issue, action::OpenSync,
                 action::CloseSync, action::SendAck, action::SendVerdicts, action::Deliver,
                 action::EndConsumer, action::SetTimer, action::Alarm, action::Note>;
using Actions = std::vector<Action>;

}  // namespace linchpin::agent
