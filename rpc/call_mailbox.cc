// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/call_mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

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

std::vector<CallKey> CallMailbox::Take() {
  base::MutexLock lock(mutex_);
  if (std::exchange(woken_, false)) {
    eventfd_t woken;
    eventfd_read(wake_, &woken);
  }
  return std::exchange(posted_, {});
}

}  // namespace linchpin::rpc
