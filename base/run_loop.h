// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One thread that runs posted work and timers in order: the home of a core and the only place that
// waits for time to pass. No two pieces of work run at the same time.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace linchpin::base {

using Work = absl::AnyInvocable<void()>;
using TimerId = uint64_t;

class RunLoop {
 public:
  static constexpr size_t kMaxQueued = 65536;
  // What a thread that runs work in the loop's place does for others before it hands over.
  static constexpr size_t kMostForOthers = 16;

  explicit RunLoop(const Clock& clock);

  // Any thread. RESOURCE_EXHAUSTED when kMaxQueued pieces of work wait; CANCELLED after Stop().
  absl::Status Post(Work work);
  // As Post(); but if nothing runs or waits, the work is done here and now, in the loop's place and
  // without waking its thread, and with it the first of what comes meanwhile. Hold no lock that any
  // work of this loop may take.
  absl::Status RunOrPost(Work work);
  // Any thread. The end of what this loop began (a completion, a connection that goes): taken
  // however much waits, for its loss would leave that thing begun for ever. What was begun is its
  // bound. Dropped after Stop().
  void PostEnd(Work work);
  void RunOrPostEnd(Work work);  // as PostEnd(), done here and now as by RunOrPost()
  // Any thread. Timers follow Uptime(), so a jump of the wall clock neither fires nor delays them.
  // 0, and `work` is dropped, when kMaxQueued timers wait or after Stop().
  TimerId PostAfter(absl::Duration delay, Work work);
  // Any thread. False if it has run, is running, or was cancelled.
  bool Cancel(TimerId id);

  // Runs until Stop(); the calling thread is the loop's. Work posted before Stop() is still run,
  // timers that are not due then are not.
  void Run();
  void Stop();  // any thread
  bool InLoop() const;

 private:
  struct Timer {
    TimerId id;
    Work work;
  };
  bool MayRunHere() const { return !busy_ && !waits_ && !stopping_ && queue_.empty(); }
  void RunHere(Work work, MutexLock& lock);
  bool RunDue(MutexLock& lock);
  void Wait(MutexLock& lock);
  void TakeTurn(MutexLock& lock);
  absl::Status Enqueue(Work work);

  const Clock& clock_;
  mutable Mutex mutex_;
  CondVar wake_;
  std::deque<Work> queue_;
  std::multimap<absl::Duration, Timer> timers_;  // by Uptime
  absl::flat_hash_map<TimerId, absl::Duration> due_;
  TimerId next_id_ = 1;
  bool stopping_ = false;
  bool busy_ = false;   // work is run, or about to be, by `thread_`
  bool waits_ = false;  // the loop's thread, for another that runs work in its place
  std::thread::id thread_;
};

// Blocks SIGTERM, SIGINT and SIGHUP in all threads, ignores SIGPIPE, and runs `on_signal` in a
// thread of its own that lives as long as the process. Call once, before any other thread is made.
void OnSignals(absl::AnyInvocable<void(int)> on_signal);

}  // namespace linchpin::base
