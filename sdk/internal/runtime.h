// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The thread that runs the core, the snapshot that handshakes take, and the registry of live
// connections.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log_limit.h"
#include "base/mutex.h"
#include "base/run_loop.h"
#include "sdk/sdk_core.h"
#include "sdk/types.h"
#include "x509/path.h"

namespace linchpin::tls {

class AgentStream;

PeerVerdict ToPeerVerdict(const trust::Verdict& verdict);
// The path of an allowed peer without its anchor, kept for judging again: the leaf may have come
// alone, and the issuer that we held may be dropped from the trust state later.
trust::RawChain ChainToKeep(const trust::Verdict& verdict);

class Runtime {
 public:
  struct Options {
    std::string socket;
    std::function<void(const Notice&)> observer;
    const base::Clock* clock = nullptr;
  };
  using Closed = std::function<void(const PeerVerdict&)>;

  // The last reference may be dropped by any thread, the loop's (a callback's) included; by one of
  // gRPC's only as a LentRuntime.
  static std::shared_ptr<Runtime> Make(Options options);
  ~Runtime();
  Runtime(const Runtime&) = delete;

  // All of these: any thread.
  std::shared_ptr<const InForce> Snapshot() const;
  absl::Status WaitReady(absl::Duration timeout) const;
  absl::Time Now() const { return options_.clock->Now(); }
  const base::Clock& clock() const { return *options_.clock; }
  x509::PathMemo* memo() { return &memo_; }
  const std::string& socket() const { return options_.socket; }
  // Counted here and handed to the core together, a little later.
  void Judged(VerdictKey key);
  void Notify(Notice notice);
  // So many a second; how many were left out is said by the next.
  void NotifyRefused(trust::Direction direction, const PeerVerdict& verdict);
  // `closed` runs at most once, in the loop's thread; RESOURCE_EXHAUSTED: the connection cannot be
  // watched and must not be kept.
  absl::StatusOr<ConnectionId> Watch(event::ConnectionOpened opened, Closed closed);
  // Waits for a callback that is running, unless called from it.
  void Unwatch(ConnectionId id);
  void Forget(ConnectionId id);  // does not wait

 private:
  // Notices that wait. More are dropped: a flood must leave room in the loop's queue for what the
  // agent says.
  static constexpr size_t kMaxExpendable = base::RunLoop::kMaxQueued / 4;

  explicit Runtime(Options options);
  void HandOverCounts();
  struct Watched {
    Closed closed;
    bool running = false;
  };

  void Unwatch(ConnectionId id, bool wait);
  void Step(const Event& event);  // the loop's thread, like all below
  void Do(action::OpenStream);
  void Do(const action::Swap& swap);
  void Do(const action::Report& report);
  void Do(const action::CloseConnection& close);
  void Do(const action::RefusedMessage& refused);
  void Do(const action::NoIdentity& none);
  void Do(const action::SetTimer& timer);
  void Observe(const Notice& notice);
  void RememberProblem(const std::string& why);

  const Options options_;
  x509::PathMemo memo_;
  base::RunLoop loop_;
  SdkCore core_;
  base::TimerId timer_ = 0;
  std::atomic<size_t> expendable_ = 0;
  base::LogLimit refusals_said_;
  std::unique_ptr<AgentStream> stream_;

  mutable base::Mutex mutex_;
  mutable base::CondVar changed_;
  std::shared_ptr<const InForce> snapshot_;
  std::string problem_ = "the agent has not answered yet";  // why there is no snapshot
  std::map<ConnectionId, std::shared_ptr<Watched>> watched_;
  ConnectionId next_id_ = 1;

  base::Mutex counts_mutex_;
  VerdictCounts counts_;

  std::thread thread_;  // last: it uses all of the above
};

// A reference that a thread of gRPC's may let go of, by whatever gRPC releases there. Such a thread
// must not wait for the end of the runtime, nor end its channel: gRPC 1.51 dies when the last
// channel goes in a thread of its own. Where this is the last reference, the runtime ends in a
// thread made for it. And while it is held, no other channel is the last.
class LentRuntime {
 public:
  explicit LentRuntime(std::shared_ptr<Runtime> runtime) : runtime_(std::move(runtime)) {}
  ~LentRuntime();
  LentRuntime(LentRuntime&&) = default;

  explicit operator bool() const { return runtime_ != nullptr; }
  Runtime* operator->() const { return runtime_.get(); }

 private:
  std::shared_ptr<Runtime> runtime_;
};

// As services see it, the default identity first.
std::vector<IdentityInfo> Describe(const InForce& contexts);

}  // namespace linchpin::tls
