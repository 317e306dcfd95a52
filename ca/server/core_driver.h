// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Runs a CaCore: one thread is the core's, one commits to the store, a few sign and write the log
// (signers.h). Carries out actions and brings their completions back; decides nothing. A call is
// taken by the core in gRPC's thread, and a group's end in the signer's, while nothing else runs
// there: a wake-up costs as much as what is done then.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "base/clock.h"
#include "base/log_limit.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/run_loop.h"
#include "ca/core/ca_core.h"
#include "ca/core/serving_keys.h"
#include "ca/keys/key_manager.h"
#include "ca/log/issuance_log.h"
#include "ca/server/signers.h"
#include "ca/store/store.h"
#include "rpc/own_identity.h"

namespace linchpin::ca {

// The stream of one node. Called from the core's thread; must not block.
class SessionSink {
 public:
  virtual ~SessionSink() = default;
  virtual void Send(std::shared_ptr<const v1::CaMessage> message) = 0;
  // After what was sent, or at once.
  virtual void Close(const absl::Status& status, bool at_once) = 0;
};

// Everything outlives the driver.
struct DriverParts {
  Store& store;
  KeyManager& keys;
  IssuanceLog& log;
  const base::Clock& clock;
  base::Metrics& metrics;
};

class CoreDriver {
 public:
  // Calls that wait for the core's thread at most, so that completions always find room.
  static constexpr int kMaxWaiting = 16384;

  CoreDriver(std::unique_ptr<CaCore> core, DriverParts parts);
  ~CoreDriver();  // finishes what is under way and joins the threads

  void Start(Outstanding outstanding);

  // Any thread that holds no lock which a SessionSink or an Answer takes, from here on.
  using Answer = absl::AnyInvocable<void(const absl::Status& status,
                                         const google::protobuf::Message* message)>;
  // `make` gives the event for the call; `answer` is called once, in the core's turn (which may be
  // before this returns) or, if too much waits, at once.
  void Ask(absl::AnyInvocable<Event(CallId)> make, Answer answer);
  // Begins `hello.session`, which NewSession() gave. `next` is called when the core has taken it.
  SessionId NewSession() { return next_id_.fetch_add(1); }
  void OpenSession(std::shared_ptr<SessionSink> sink, event::NodeHello hello, base::Work next);
  // A message of a session; `next` as above. One at a time of each.
  void Tell(Event event, base::Work next);
  void SessionGone(SessionId session);

  // Slow work of others (reading the log), one at a time.
  absl::Status RunSlowly(base::Work work) { return slow_loop_.Post(std::move(work)); }
  void RunSlowlyAfter(absl::Duration delay, base::Work work) {
    slow_loop_.PostAfter(delay, std::move(work));
  }

  // Waits until the CA can do its work; DEADLINE_EXCEEDED says what is amiss.
  absl::Status WaitReady(absl::Duration most) const;
  // Says goodbye to the nodes and waits until nothing is under way, or `most` has passed.
  void Drain(absl::Duration most);

  std::shared_ptr<const rpc::OwnIdentity> identity() const { return identity_; }
  std::string NotReady() const;
  IssuanceLog& log() { return parts_.log; }
  Store& store() { return parts_.store; }  // to read
  base::Metrics& metrics() { return parts_.metrics; }
  const base::Clock& clock() const { return parts_.clock; }

 private:
  void Step(Event event);
  void Do(action::Commit action);
  void Do(action::SignAndLog action);
  void Do(action::Reload action);
  void Do(action::Reply action);
  void Do(action::Push action);
  void Do(action::CloseSession action);
  void Do(action::MakeServingKey action);
  void Do(action::UseServingCertificate action);
  void Do(action::UseTrust action);
  void Do(action::Prove action);
  void Do(action::MakeAuthorities action);
  void Do(action::DeleteKey action);
  void Do(action::FindIssued action);
  void Do(action::Note action);
  void Say(const action::Note& note);
  void Complete(Event event);  // any thread
  void Complete(std::vector<event::Issued> made);
  void SwapContext();
  void Tick();
  void LookForKeys();
  void Measure(absl::Time now);

  DriverParts parts_;
  const std::shared_ptr<rpc::OwnIdentity> identity_ = std::make_shared<rpc::OwnIdentity>();
  std::atomic<uint64_t> next_id_{1};  // of calls and sessions
  std::atomic<int> waiting_{0};

  // The core's thread only.
  std::unique_ptr<CaCore> core_;
  std::map<CallId, Answer> calls_;
  std::map<SessionId, std::shared_ptr<SessionSink>> sessions_;
  ServingKeys serving_keys_;
  x509::Chain serving_chain_;
  std::shared_ptr<const trust::TrustState> trust_;
  base::LogLimit notes_said_{50};
  base::LogLimit warnings_said_{50};
  uint64_t ticks_ = 0;

  mutable base::Mutex state_mutex_;
  mutable base::CondVar state_changed_;
  std::string not_ready_ = "starting";
  bool idle_ = true;

  base::RunLoop loop_;
  base::RunLoop store_loop_;
  base::RunLoop slow_loop_;
  Signers signers_;
  std::vector<std::thread> threads_;  // the core's first
};

}  // namespace linchpin::ca
