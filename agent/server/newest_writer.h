// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One call that is answered with a stream of messages, each complete: holds the newest until the
// reader takes it.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "rpc/status.h"

namespace linchpin::agent {

// Any thread. Keeps itself until gRPC is done with it. A slow reader is given the newest message
// only, so memory is bounded by two of them.
template <typename Message>
class NewestWriter : public grpc::ServerWriteReactor<Message> {
 public:
  // Keeps `self`, which is this object, until gRPC is done with it.
  void Keep(std::shared_ptr<NewestWriter> self) { self_ = std::move(self); }

  void Write(std::shared_ptr<const Message> message) {
    base::MutexLock lock(mutex_);
    waiting_ = std::move(message);
    Next(lock);
  }
  // After a message that is being written, and instead of one that waits.
  void Close(const absl::Status& status) {
    base::MutexLock lock(mutex_);
    if (!end_.has_value()) end_ = status;
    Next(lock);
  }

 protected:
  virtual void Done() = 0;  // nothing of the call follows

 private:
  void OnWriteDone(bool ok) override {
    base::MutexLock lock(mutex_);
    writing_ = nullptr;
    if (!ok && !end_.has_value()) end_ = absl::CancelledError("the reader has gone");
    Next(lock);
  }
  // These two are short: no thread of gRPC's is woken for each.
  bool InternalInlineable() override { return true; }
  void OnCancel() override { Close(absl::CancelledError("the reader has gone")); }
  void OnDone() override {
    const std::shared_ptr<NewestWriter> self = std::move(self_);
    Done();
  }

  void Next(base::MutexLock& lock) {
    if (writing_ != nullptr || finished_) return;
    if (end_.has_value()) {
      finished_ = true;
      const grpc::Status status = rpc::ToGrpc(*end_);
      lock.unlock();
      this->Finish(status);
      return;
    }
    if (waiting_ == nullptr) return;
    writing_ = std::move(waiting_);
    const Message* message = writing_.get();
    lock.unlock();
    this->StartWrite(message);
  }

  std::shared_ptr<NewestWriter> self_;
  base::Mutex mutex_;
  std::shared_ptr<const Message> writing_;
  std::shared_ptr<const Message> waiting_;
  std::optional<absl::Status> end_;
  bool finished_ = false;
};

}  // namespace linchpin::agent
