// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/call_mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace linchpin::rpc {

CallMailbox::~CallMailbox() {
  if (wake_ >= 0) close(wake_);
}

int CallMailbox::Open() { return wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void CallMailbox::IsOfThisThread() {
  base::MutexLock lock(mutex_);
  thread_ = std::this_thread::get_id();
}

void CallMailbox::Post(CallKey key) {
  base::MutexLock lock(mutex_);
  posted_.push_back(key);
  if (std::this_thread::get_id() == thread_ || std::exchange(woken_, true)) return;
  eventfd_write(wake_, 1);
}

std::vector<CallKey> CallMailbox::Take(size_t most) {
  base::MutexLock lock(mutex_);
  if (std::exchange(woken_, false)) {
    eventfd_t woken;
    eventfd_read(wake_, &woken);
  }
  const auto end = posted_.begin() + static_cast<ptrdiff_t>(std::min(most, posted_.size()));
  std::vector<CallKey> taken(posted_.begin(), end);
  posted_.erase(posted_.begin(), end);
  return taken;
}

bool CallMailbox::empty() const {
  base::MutexLock lock(mutex_);
  return posted_.empty();
}

}  // namespace linchpin::rpc
