// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Work for users of this machine that may take as long as one of them likes: it looks at programs
// of their choosing, on file systems of their choosing, and asks directories for their names. One
// user's work waits for his own only.
#pragma once

#include <sys/types.h>

#include <deque>
#include <map>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "base/run_loop.h"

namespace linchpin::agent {

// Safe for concurrent use. Threads come with the work, up to kMaxThreads, and go when there is
// none; one stays. So many users must each be stuck before a further one waits.
class UserQueues {
 public:
  static constexpr size_t kMaxThreads = 16;
  static constexpr size_t kMaxQueuedOfUser = 8192;

  UserQueues() = default;
  ~UserQueues() { Stop(); }
  UserQueues(const UserQueues&) = delete;

  // A user's work is done in order, one piece at a time. RESOURCE_EXHAUSTED: too much of his waits;
  // CANCELLED after Stop().
  absl::Status Post(uid_t user, base::Work work);
  // Waits for what is being done and drops what waits.
  void Stop();

 private:
  struct Queue {
    std::deque<base::Work> waiting;
    bool busy = false;
  };
  void Run();
  void JoinEnded(base::MutexLock& lock);

  base::Mutex mutex_;
  base::CondVar changed_;
  std::map<uid_t, Queue> queues_;  // of users with work
  std::deque<uid_t> ready_;        // with waiting work, none of it being done
  size_t idle_ = 0;                // threads that wait for work
  bool stopping_ = false;
  std::map<std::thread::id, std::thread> threads_;
  std::vector<std::thread> ended_;
};

}  // namespace linchpin::agent
