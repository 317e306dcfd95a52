// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/local_call.h"

#include "rpc/status.h"

namespace linchpin::rpc {

std::vector<absl::string_view> LocalCall::ValuesOf(absl::string_view name) const {
  std::vector<absl::string_view> values;
  for (const auto& [key, value] : metadata_) {
    if (key == name) values.push_back(value);
  }
  return values;
}

void LocalCall::Tell(base::MutexLock& lock) {
  if (std::exchange(told_, true)) return;
  lock.unlock();
  mailbox_->Post(key_);
}

void LocalCall::Write(Message message) {
  Message replaced;  // goes outside the lock
  base::MutexLock lock(mutex_);
  if (over_ || end_.has_value()) return;
  if (writing_ != nullptr) {
    replaced = std::exchange(waiting_, std::move(message));
    lock.unlock();
    return;
  }
  writing_ = std::move(message);
  Tell(lock);
}

void LocalCall::Finish(const absl::Status& status) {
  Message replaced;
  base::MutexLock lock(mutex_);
  if (over_ || end_.has_value()) return;
  end_ = Shortened(status);
  replaced = std::move(waiting_);
  if (writing_ == nullptr) Tell(lock);
}

void LocalCall::Read() {
  base::MutexLock lock(mutex_);
  if (over_) return;
  reads_ = true;
  Tell(lock);
}

LocalCall::Orders LocalCall::TakeOrders() {
  base::MutexLock lock(mutex_);
  told_ = false;
  Orders orders{.message = writing_, .end = std::nullopt, .read = std::exchange(reads_, false)};
  if (writing_ == nullptr) orders.end = end_;
  return orders;
}

void LocalCall::Written() {
  Message written;
  {
    base::MutexLock lock(mutex_);
    written = std::exchange(writing_, std::move(waiting_));
  }
  if (events_ != nullptr) events_->OnWritten();
}

void LocalCall::Over(bool gave_up) {
  Message writing;
  Message waiting;
  {
    base::MutexLock lock(mutex_);
    over_ = true;
    writing = std::move(writing_);
    waiting = std::move(waiting_);
  }
  const std::shared_ptr<CallEvents> events = std::move(events_);
  if (events != nullptr) events->OnDone(gave_up);
}

}  // namespace linchpin::rpc
