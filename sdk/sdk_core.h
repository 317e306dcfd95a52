// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a service's TLS does with what its agent says: when to subscribe, what to put in force, what
// to acknowledge and which live connections to close. A state machine without I/O, clock or
// threads; internal to the library (services include sdk/context_source.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "sdk/verdict_counts.h"
#include "trust/judge.h"
#include "trust/trust_codec.h"

namespace linchpin::tls {

// One complete, checked message of the agent: what the TLS contexts enforce once swapped.
struct InForce {
  uint64_t generation = 0;  // counts swaps, from 1
  std::string consumer_id;
  trust::DecodedContexts decoded;  // contexts is never empty

  // The default identity for an empty `spiffe_id`; null if there is none of that ID.
  std::shared_ptr<const trust::MtlsContext> Find(const std::string& spiffe_id) const;
};

using ConnectionId = uint64_t;

// What happened.
namespace event {
struct Started {};       // once, first
struct StreamOpened {};  // Watch was begun
struct StreamLost {      // or could not be opened
  absl::Status status;
};
struct ContextsReceived {
  agent::v1::MtlsContexts message;
};
// The contexts of Swap{generation} are what every handshake from now on uses.
struct Swapped {
  uint64_t generation = 0;
};
struct ReportDone {
  absl::Status status;
};
// A handshake that was allowed. Judged again at once if trust has changed since `trust_digest`.
struct ConnectionOpened {
  ConnectionId id = 0;
  std::string self_id;
  // Under which it was allowed: its rules go on where that identity is withdrawn.
  std::shared_ptr<const trust::MtlsContext> context;
  trust::RawChain chain;
  trust::Direction direction = trust::Direction::kInbound;
  trust::Expect expect = trust::Expect::AnyAllowed();
  absl::Time handshake_time;
  std::string trust_digest;  // under which it was allowed
  absl::Duration max_age = absl::InfiniteDuration();
};
struct ConnectionClosed {
  ConnectionId id = 0;
};
struct Judged {  // since the last of these
  VerdictCounts counts;
};
struct TimerFired {};
}  // namespace event
using Event =
    std::variant<event::Started, event::StreamOpened, event::StreamLost, event::ContextsReceived,
                 event::Swapped, event::ReportDone, event::ConnectionOpened,
                 event::ConnectionClosed, event::Judged, event::TimerFired>;

// What is to be done, in order.
namespace action {
struct OpenStream {};  // answer: StreamOpened or StreamLost
// Answer: Swapped. Only then is anything acknowledged.
struct Swap {
  std::shared_ptr<const InForce> contexts;
};
// Answer: ReportDone. At most one is under way.
struct Report {
  agent::v1::ReportRequest request;
};
// Answer: ConnectionClosed. `verdict` is unset when the connection has reached its greatest age.
struct CloseConnection {
  ConnectionId id = 0;
  std::optional<trust::Verdict> verdict;
};
// The agent's message could not be used; what was in force stays.
struct RefusedMessage {
  absl::Status status;
};
// The agent knows no identity for this process. What was in force stays until its leaf expires,
// under newer trust where the agent sends it (then a Swap follows).
struct NoIdentity {
  std::vector<std::string> selectors;
};
// TimerFired is due at `at`; replaces the timer set before.
struct SetTimer {
  absl::Time at;
};
}  // namespace action
using Action =
    std::variant<action::OpenStream, action::Swap, action::Report, action::CloseConnection,
                 action::RefusedMessage, action::NoIdentity, action::SetTimer>;

struct CoreOptions {
  uint64_t seed = 0;               // of the jitter
  x509::PathMemo* memo = nullptr;  // borrowed; may be null
  absl::Duration first_retry = absl::Milliseconds(100);
  absl::Duration most_retry = absl::Seconds(5);
  absl::Duration report_interval = absl::Seconds(1);  // between reports of verdicts
  absl::Duration close_spread = absl::Seconds(60);    // of closings that are not urgent
};

// Not thread-safe: one thread or one lock around it.
class SdkCore {
 public:
  explicit SdkCore(CoreOptions options) : options_(options) {}

  std::vector<Action> Step(absl::Time now, const Event& event);

  // What was swapped in last; null before the first.
  const std::shared_ptr<const InForce>& in_force() const { return in_force_; }
  size_t connections() const { return connections_.size(); }

 private:
  using Actions = std::vector<Action>;
  enum class Stream { kClosed, kOpening, kOpen };

  struct Live {
    event::ConnectionOpened opened;
    std::string judged_under;               // trust digest
    absl::Time close_at;                    // infinite future: not due
    std::optional<trust::Verdict> verdict;  // why, if not for age
    bool closing = false;                   // CloseConnection was given
  };

  void On(absl::Time now, const event::Started&, Actions* out);
  void On(absl::Time now, const event::StreamOpened&, Actions* out);
  void On(absl::Time now, const event::StreamLost&, Actions* out);
  void On(absl::Time now, const event::ContextsReceived& event, Actions* out);
  void On(absl::Time now, const event::Swapped& event, Actions* out);
  void On(absl::Time now, const event::ReportDone& event, Actions* out);
  void On(absl::Time now, const event::ConnectionOpened& event, Actions* out);
  void On(absl::Time now, const event::ConnectionClosed& event, Actions* out);
  void On(absl::Time now, const event::Judged& event, Actions* out);
  void On(absl::Time now, const event::TimerFired&, Actions* out);

  void Rejudge(absl::Time now, Live* live);
  void Schedule(Live* live, absl::Time close_at);
  void CloseDue(absl::Time now, Actions* out);
  void MaybeReport(absl::Time now, Actions* out);
  void SetTimer(absl::Time now, Actions* out);
  absl::Time AgeLimit(const event::ConnectionOpened& opened) const;
  bool ClosesAtOnce(const trust::Verdict& verdict) const;
  bool CanReport() const;
  bool OwesAcknowledgement() const;
  double Fraction(uint64_t salt) const;  // in [0, 1), by seed and salt

  CoreOptions options_;
  Stream stream_ = Stream::kClosed;
  int failed_tries_ = 0;
  absl::Time open_at_ = absl::InfiniteFuture();
  uint64_t generation_ = 0;
  std::shared_ptr<const InForce> pending_;  // between Swap and Swapped
  std::shared_ptr<const InForce> in_force_;
  std::map<ConnectionId, Live> connections_;
  std::set<std::pair<absl::Time, ConnectionId>> closings_;
  std::string consumer_id_;  // of the present stream; empty before its first message

  // Reports.
  VerdictCounts counts_;
  VerdictCounts counts_under_way_;
  bool report_under_way_ = false;
  std::tuple<std::string, uint64_t, std::string> acknowledged_;  // consumer, epoch, digest
  std::tuple<std::string, uint64_t, std::string> acknowledging_;
  absl::Time next_report_ = absl::InfinitePast();  // of verdicts
  absl::Time retry_at_ = absl::InfinitePast();     // of a report that failed
  absl::Time timer_ = absl::InfiniteFuture();
};

}  // namespace linchpin::tls
