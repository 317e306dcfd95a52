// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/watch_stream.h"

#include <utility>

#include "rpc/status.h"

namespace linchpin::agent {

void WatchStream::Saw(Sight sight) {
  base::MutexLock lock(mutex_);
  seen_ = std::move(sight);
}

WatchStream::Sight WatchStream::seen() const {
  base::MutexLock lock(mutex_);
  return seen_;
}

bool WatchStream::Offer(std::shared_ptr<const v1::MtlsContexts> message) {
  base::MutexLock lock(mutex_);
  offered_ = std::move(message);
  return !std::exchange(looking_, true);
}

std::shared_ptr<const v1::MtlsContexts> WatchStream::TakeOffered() {
  base::MutexLock lock(mutex_);
  if (offered_ == nullptr) looking_ = false;
  return std::exchange(offered_, nullptr);
}

void WatchStream::Send(std::shared_ptr<const v1::MtlsContexts> message) {
  base::MutexLock lock(mutex_);
  waiting_ = std::move(message);
  Next(lock);
}

void WatchStream::End(const absl::Status& status) {
  base::MutexLock lock(mutex_);
  if (!end_.has_value()) end_ = status;
  Next(lock);
}

void WatchStream::Next(base::MutexLock& lock) {
  if (writing_ != nullptr || finished_) return;
  if (end_.has_value()) {
    finished_ = true;
    const grpc::Status status = rpc::ToGrpc(*end_);
    lock.unlock();
    Finish(status);
    return;
  }
  if (waiting_ == nullptr) return;
  writing_ = std::move(waiting_);
  waiting_ = nullptr;
  const v1::MtlsContexts* message = writing_.get();
  lock.unlock();
  StartWrite(message);
}

void WatchStream::OnWriteDone(bool ok) {
  base::MutexLock lock(mutex_);
  writing_ = nullptr;
  if (!ok && !end_.has_value()) end_ = absl::CancelledError("the reader has gone");
  Next(lock);
}

void WatchStream::OnDone() {
  const std::function<void()> done = parts_.done;
  done();
}

}  // namespace linchpin::agent
