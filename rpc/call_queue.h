// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Where a client's calls end: gRPC's completion queue with one thread, which sleeps until something
// happens. The threads that gRPC 1.51 keeps for its callbacks wake each other five times a second
// for nothing, which is most of what a program costs that only waits.
#pragma once

#include <grpcpp/completion_queue.h>

#include <functional>
#include <thread>

namespace linchpin::rpc {

class CallQueue {
 public:
  // The tag of a call's step is the address of one of these, which stays until the step is over and
  // is copied before it runs. `ok` is gRPC's. In the queue's thread; must not block.
  using Told = std::function<void(bool ok)>;

  CallQueue();
  // No call may be under way; where it is destroyed, none may begin.
  ~CallQueue();
  CallQueue(const CallQueue&) = delete;

  grpc::CompletionQueue* get() { return &queue_; }

 private:
  grpc::CompletionQueue queue_;
  std::thread thread_;
};

}  // namespace linchpin::rpc
