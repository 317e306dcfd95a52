// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What happens to AgentCore: plain values, no I/O. What it wants done: actions.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "linchpin/ca/v1/node.pb.h"
#include "linchpin/state/v1/agent_state.pb.h"
#include "trust/pin_upkeep.h"
#include "x509/key.h"

namespace linchpin::agent {

// Given by the core to work whose completion it waits for; never used twice.
using Ticket = uint64_t;
// Names a stream of any API, given by the adaptor; never used twice.
using ConsumerId = std::string;
// Names a process of this node as long as it lives, given by the adaptor; never used twice.
using ProcessId = std::string;

// What a CA shows to somebody who does not trust it yet.
struct Shown {
  std::vector<std::string> chain;  // DER, as sent: leaf, issuer, root
  std::vector<trust::v1::SignedPinSet> pin_sets;
  std::optional<trust::v1::SignedRelax> relax = std::nullopt;
  std::optional<trust::v1::SignedFreshness> freshness = std::nullopt;
};

struct RenewedNode {
  x509::PrivateKey key;  // made for this renewal
  ca::v1::AttestResponse response;
};

struct IssuedItem {
  x509::PrivateKey key;  // made for this certificate
  std::vector<std::string> chain;
};

namespace event {

// Once, first. `state` is what was sealed last, if anything, and `alive` those of the processes in
// it that run now: each gets its ProcessExited.
struct Started {
  std::optional<state::v1::AgentState> state;
  std::vector<ProcessId> alive = {};
};

// Answers to actions: each action of the name gets just one.
struct NodeKeyMade {
  absl::StatusOr<x509::PrivateKey> key;
};
struct FirstContactDone {
  absl::StatusOr<Shown> shown;
};
struct AttestDone {
  absl::StatusOr<ca::v1::AttestResponse> response;
};
struct NodeRenewed {
  absl::StatusOr<RenewedNode> renewed;
};
// From now on every new connection to the CA shows and judges with the context of this generation.
struct IdentityInUse {
  uint64_t generation = 0;
};
struct Sealed {
  Ticket ticket = 0;
  absl::Status status;
};
struct IssueDone {
  struct Result {
    std::string identity_id;
    absl::StatusOr<IssuedItem> item;
  };
  Ticket ticket = 0;
  std::vector<Result> results;  // one an identity that was asked for
};

// The Sync stream of OpenSync. Closed may come without opened; after it nothing of that stream.
struct SyncOpened {
  Ticket stream = 0;
  std::vector<std::string> ca_chain;  // as the CA showed it; empty if the adaptor cannot tell
};
struct SyncReceived {
  Ticket stream = 0;
  ca::v1::CaMessage message;
};
struct SyncClosed {
  Ticket stream = 0;
  absl::Status status;
};

// A stream of a process on this node, whose selectors are what attestation saw. `evidence` is what
// its API can show at best: with IN_FORCE and ACCEPTED the process says so (ConsumerReported), with
// DELIVERED what is delivered counts at once, and with NONE nothing that it carries is trust that
// somebody could wait for.
struct ConsumerOpened {
  ConsumerId consumer;
  ProcessId process;
  std::vector<std::string> selectors;
  ca::v1::Evidence evidence = ca::v1::IN_FORCE;
  std::string carries;  // of ConsumerHolds
};
struct ConsumerChanged {  // attested again, with another result
  ConsumerId consumer;
  std::vector<std::string> selectors;
};
struct ConsumerHolds {  // what it carries changed: another class of evidence from now on
  ConsumerId consumer;
  ca::v1::Evidence evidence = ca::v1::NONE;
  // The trust it carries, as a name: a stream takes the place only of one that carried the same.
  std::string carries;
};
struct ConsumerClosed {  // the stream ended; the process may live on with what it has
  ConsumerId consumer;
};
struct ProcessExited {
  ProcessId process;
};
struct ConsumerReported {
  agent::v1::ReportRequest report;
};

// What lies in the files of --pin-set-file now; again whenever it changed.
struct PinFilesRead {
  trust::Carriers documents;
  std::vector<std::string> faults = {};  // of what else lies there: sentences
};

struct TimerFired {};

}  // namespace event

using Event = std::variant<event::Started, event::NodeKeyMade, event::FirstContactDone,
                           event::AttestDone, event::NodeRenewed, event::IdentityInUse,
                           event::Sealed, event::IssueDone, event::SyncOpened, event::SyncReceived,
                           event::SyncClosed, event::ConsumerOpened, event::ConsumerChanged,
                           event::ConsumerHolds, event::ConsumerClosed, event::ProcessExited,
                           event::ConsumerReported, event::PinFilesRead, event::TimerFired>;

}  // namespace linchpin::agent
