// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/run_loop.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace linchpin::base {
namespace {

// The wait is cut into pieces because the condition variable's clock stands still while the machine
// sleeps and Uptime() does not.
constexpr absl::Duration kLongestWait = absl::Minutes(1);

}  // namespace

RunLoop::RunLoop(const Clock& clock) : clock_(clock) {}

absl::Status RunLoop::Post(Work work) {
  MutexLock lock(mutex_);
  return Enqueue(std::move(work));
}

absl::Status RunLoop::Enqueue(Work work) {
  if (stopping_) {
    return absl::CancelledError("the run loop is stopping: no further work is taken");
  }
  if (queue_.size() >= kMaxQueued) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the run loop's queue is full: ", kMaxQueued, " pieces of work wait"));
  }
  queue_.push_back(std::move(work));
  if (!busy_) wake_.notify_one();
  return absl::OkStatus();
}

absl::Status RunLoop::RunOrPost(Work work) {
  MutexLock lock(mutex_);
  if (!MayRunHere()) return Enqueue(std::move(work));
  RunHere(std::move(work), lock);
  return absl::OkStatus();
}

void RunLoop::RunHere(Work work, MutexLock& lock) {
  busy_ = true;
  const std::thread::id loop = std::exchange(thread_, std::this_thread::get_id());
  for (size_t others = 0;; ++others) {
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
    if (waits_ || queue_.empty() || others == kMostForOthers) break;
    work = std::move(queue_.front());
    queue_.pop_front();
  }
  thread_ = loop;
  busy_ = false;
  if (waits_ || !queue_.empty()) wake_.notify_one();
}

void RunLoop::PostEnd(Work work) {
  MutexLock lock(mutex_);
  if (stopping_) return;
  queue_.push_back(std::move(work));
  if (!busy_) wake_.notify_one();
}

void RunLoop::RunOrPostEnd(Work work) {
  MutexLock lock(mutex_);
  if (MayRunHere()) return RunHere(std::move(work), lock);
  if (stopping_) return;
  queue_.push_back(std::move(work));
  if (!busy_) wake_.notify_one();
}

TimerId RunLoop::PostAfter(absl::Duration delay, Work work) {
  const absl::Duration due = clock_.Uptime() + std::max(delay, absl::ZeroDuration());
  MutexLock lock(mutex_);
  if (stopping_ || timers_.size() >= kMaxQueued) return 0;
  const TimerId id = next_id_++;
  timers_.emplace(due, Timer{id, std::move(work)});
  due_.emplace(id, due);
  wake_.notify_one();
  return id;
}

bool RunLoop::Cancel(TimerId id) {
  Work cancelled;  // destroyed after the lock is released
  MutexLock lock(mutex_);
  const auto due = due_.find(id);
  if (due == due_.end()) return false;
  const auto [begin, end] = timers_.equal_range(due->second);
  const auto timer =
      std::find_if(begin, end, [id](const auto& entry) { return entry.second.id == id; });
  cancelled = std::move(timer->second.work);
  timers_.erase(timer);
  due_.erase(due);
  lock.unlock();
  return true;
}

bool RunLoop::RunDue(MutexLock& lock) {
  if (timers_.empty() || timers_.begin()->first > clock_.Uptime()) return false;
  {
    Work work = std::move(timers_.begin()->second.work);
    due_.erase(timers_.begin()->second.id);
    timers_.erase(timers_.begin());
    lock.unlock();
    work();
  }
  lock.lock();
  return true;
}

void RunLoop::Wait(MutexLock& lock) {
  busy_ = false;
  if (timers_.empty()) {
    wake_.wait(lock);
  } else {
    const absl::Duration wait = timers_.begin()->first - clock_.Uptime();
    if (wait > absl::ZeroDuration()) {
      wake_.wait_for(lock, absl::ToChronoNanoseconds(std::min(wait, kLongestWait)));
    }
  }
  TakeTurn(lock);
}

void RunLoop::TakeTurn(MutexLock& lock) {
  waits_ = true;
  wake_.wait(lock, [this] { return !busy_; });
  waits_ = false;
  busy_ = true;
}

void RunLoop::Run() {
  MutexLock lock(mutex_);
  TakeTurn(lock);
  thread_ = std::this_thread::get_id();
  while (true) {
    if (!queue_.empty()) {
      std::deque<Work> batch = std::exchange(queue_, {});
      lock.unlock();
      for (Work& work : batch) {
        work();
        work = nullptr;
      }
      lock.lock();
    }
    if (stopping_ && queue_.empty()) break;
    if (RunDue(lock) || !queue_.empty() || stopping_) continue;
    Wait(lock);
  }
  thread_ = std::thread::id();
  busy_ = false;
}

void RunLoop::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  wake_.notify_all();
}

bool RunLoop::InLoop() const {
  MutexLock lock(mutex_);
  return thread_ == std::this_thread::get_id();
}

void OnSignals(absl::AnyInvocable<void(int)> on_signal) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);  // NOLINT: a peer that goes is an error code, not our end
  std::thread([signals, on_signal = std::move(on_signal)]() mutable {
    while (true) {
      int number = 0;
      if (sigwait(&signals, &number) == 0) on_signal(number);
    }
  }).detach();
}

}  // namespace linchpin::base
