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
  ready_.push_back(user);
  if (ready_.size() <= idle_) {
    changed_.notify_one();
  } else if (threads_.size() < kMaxThreads) {
    std::thread thread([this] { Run(); });
    const std::thread::id id = thread.get_id();
    threads_.emplace(id, std::move(thread));
  }
  JoinEnded(lock);
  return absl::OkStatus();
}

void UserQueues::JoinEnded(base::MutexLock& lock) {
  std::vector<std::thread> ended = std::exchange(ended_, {});
  lock.unlock();
  for (std::thread& thread : ended) thread.join();
}

void UserQueues::Run() {
  base::MutexLock lock(mutex_);
  while (true) {
    if (ready_.empty() && !stopping_ && idle_ == 0) {
      ++idle_;
      changed_.wait(lock, [this] { return stopping_ || !ready_.empty(); });
      --idle_;
    }
    if (stopping_ || ready_.empty()) break;
    const uid_t user = ready_.front();
    ready_.pop_front();
    {
      Queue& queue = queues_[user];
      base::Work work = std::move(queue.waiting.front());
      queue.waiting.pop_front();
      queue.busy = true;
      lock.unlock();
      work();
    }
    lock.lock();
    const auto queue = queues_.find(user);
    queue->second.busy = false;
    if (queue->second.waiting.empty()) {
      queues_.erase(queue);
    } else {
      ready_.push_back(user);
    }
  }
  const auto self = threads_.find(std::this_thread::get_id());
  if (self == threads_.end()) return;  // Stop() has it
  ended_.push_back(std::move(self->second));
  threads_.erase(self);
}

void UserQueues::Stop() {
  base::MutexLock lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
  std::map<std::thread::id, std::thread> threads = std::exchange(threads_, {});
  std::vector<std::thread> ended = std::exchange(ended_, {});
  lock.unlock();
  for (auto& [id, thread] : threads) thread.join();
  for (std::thread& thread : ended) thread.join();
  std::map<uid_t, Queue> dropped;  // outside the lock
  lock.lock();
  dropped.swap(queues_);
  ready_.clear();
  lock.unlock();
}

}  // namespace linchpin::agent
