// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Work for users of this machine that may take as long as one of them likes: it looks at programs
// of their choosing, on file systems of their choosing, and asks directories for their names. One
// user's work waits for his own only.
#pragma once

#include <sys/types.h>

#include <deque>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/run_loop.h"

namespace linchpin::agent {

// Safe for concurrent use. Threads come with the work, up to kMaxThreads, and go when there is
// none; one stays. So many users must each be stuck before a further one waits. Ids that one user
// may have by the thousand (subordinate ids, of containers) take half of the threads at most.
class UserQueues {
 public:
  static constexpr size_t kMaxThreads = 16;
  static constexpr size_t kMaxQueuedOfUser = 8192;
  static constexpr size_t kMaxThreadsOfCrowd = kMaxThreads / 2;
  // Above the ids of accounts, of dynamic users and of nobody; directories' users may be here too.
  static constexpr uid_t kCrowdBegins = 65536;

  UserQueues() = default;
  ~UserQueues() { Stop(); }
  UserQueues(const UserQueues&) = delete;

  // A user's work is done in order, one piece at a time. RESOURCE_EXHAUSTED: too much of his waits;
  // CANCELLED after Stop().
  absl::Status Post(uid_t user, base::Work work);
  // Waits for what is being done, and drops what waits. False: something is still being done, and
  // what it uses must stay.
  bool Stop(absl::Duration patience = absl::InfiniteDuration());

 private:
  struct Queue {
    std::deque<base::Work> waiting;
    bool busy = false;
  };
  static bool IsOfCrowd(uid_t user) { return user >= kCrowdBegins; }
  // Whose work is next; none: there is none that may be done now.
  std::optional<uid_t> TakeReady();
  bool HasReady() const {
    return !ready_.empty() || (!ready_crowd_.empty() && busy_crowd_ < kMaxThreadsOfCrowd);
  }
  void StartThread();
  void Ready(uid_t user) { (IsOfCrowd(user) ? ready_crowd_ : ready_).push_back(user); }
  void Run();
  void JoinEnded(base::MutexLock& lock);

  base::Mutex mutex_;
  base::CondVar changed_;
  std::map<uid_t, Queue> queues_;  // of users with work
  std::deque<uid_t> ready_;        // with waiting work, none of it being done
  std::deque<uid_t> ready_crowd_;  // likewise
  size_t busy_crowd_ = 0;          // threads that work for the crowd
  bool crowd_first_ = false;       // the two take turns
  size_t idle_ = 0;                // threads that wait for work
  bool stopping_ = false;
  std::map<std::thread::id, std::thread> threads_;
  std::vector<std::thread> ended_;
};

}  // namespace linchpin::agent
