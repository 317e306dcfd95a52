// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/user_queues.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace linchpin::agent {

absl::Status UserQueues::Post(uid_t user, base::Work work) {
  base::MutexLock lock(mutex_);
  if (stopping_) return absl::CancelledError("the agent is stopping");
  Queue& queue = queues_[user];
  if (queue.waiting.size() >= kMaxQueuedOfUser) {
    return absl::ResourceExhaustedError(
        absl::StrCat("too much work of user ", user, " waits; call again later"));
  }
  queue.waiting.push_back(std::move(work));
  if (queue.busy || queue.waiting.size() > 1) return absl::OkStatus();
  Ready(user);
  if (!HasReady()) return absl::OkStatus();
  if (ready_.size() + ready_crowd_.size() <= idle_) {
    changed_.notify_one();
  } else {
    StartThread();
  }
  JoinEnded(lock);
  return absl::OkStatus();
}

void UserQueues::StartThread() {
  if (threads_.size() >= kMaxThreads) return;
  std::thread thread([this] { Run(); });
  const std::thread::id id = thread.get_id();
  threads_.emplace(id, std::move(thread));
}

void UserQueues::JoinEnded(base::MutexLock& lock) {
  std::vector<std::thread> ended = std::exchange(ended_, {});
  lock.unlock();
  for (std::thread& thread : ended) thread.join();
}

std::optional<uid_t> UserQueues::TakeReady() {
  if (!HasReady()) return std::nullopt;
  const bool crowd =
      !ready_crowd_.empty() && busy_crowd_ < kMaxThreadsOfCrowd && (ready_.empty() || crowd_first_);
  crowd_first_ = !crowd;
  std::deque<uid_t>& ready = crowd ? ready_crowd_ : ready_;
  const uid_t user = ready.front();
  ready.pop_front();
  if (crowd) ++busy_crowd_;
  return user;
}

void UserQueues::Run() {
  base::MutexLock lock(mutex_);
  while (true) {
    if (!HasReady() && !stopping_ && idle_ == 0) {
      ++idle_;
      changed_.wait(lock, [this] { return stopping_ || HasReady(); });
      --idle_;
    }
    const std::optional<uid_t> next = stopping_ ? std::nullopt : TakeReady();
    if (!next.has_value()) break;
    const uid_t user = *next;
    {
      Queue& queue = queues_[user];
      base::Work work = std::move(queue.waiting.front());
      queue.waiting.pop_front();
      queue.busy = true;
      lock.unlock();
      work();
    }
    lock.lock();
    const bool was_full = IsOfCrowd(user) && busy_crowd_-- == kMaxThreadsOfCrowd;
    // This thread may be for another now.
    if (was_full && HasReady()) idle_ > 0 ? changed_.notify_one() : StartThread();
    const auto queue = queues_.find(user);
    queue->second.busy = false;
    if (queue->second.waiting.empty()) {
      queues_.erase(queue);
    } else {
      Ready(user);
    }
  }
  const auto self = threads_.find(std::this_thread::get_id());
  ended_.push_back(std::move(self->second));
  threads_.erase(self);
  changed_.notify_all();
}

bool UserQueues::Stop(absl::Duration patience) {
  std::map<uid_t, Queue> dropped;  // outside the lock
  base::MutexLock lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
  const auto over = [this] { return threads_.empty(); };
  if (patience == absl::InfiniteDuration()) {
    changed_.wait(lock, over);
  } else if (!changed_.wait_for(lock, absl::ToChronoNanoseconds(patience), over)) {
    return false;
  }
  dropped.swap(queues_);
  ready_.clear();
  ready_crowd_.clear();
  JoinEnded(lock);
  return true;
}

}  // namespace linchpin::agent
