// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Tells a server's thread which of its calls have something to say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <thread>
#include <tuple>
#include <vector>

#include "base/mutex.h"

namespace linchpin::rpc {

// A call of a server: its connection, and its stream there. Never used twice.
struct CallKey {
  uint64_t connection = 0;
  int32_t stream = 0;

  friend bool operator<(const CallKey& a, const CallKey& b) {
    return std::tie(a.connection, a.stream) < std::tie(b.connection, b.stream);
  }
};

// Safe for concurrent use; may outlive the server. Holds at most what each call posts: one key.
class CallMailbox {
 public:
  CallMailbox() = default;
  ~CallMailbox();
  CallMailbox(const CallMailbox&) = delete;

  // Readable when somebody else than the server's thread has posted; -1: out of files.
  int Open();
  // Of the server's thread, before any call: it is not woken by what it posts itself, and looks
  // into the box before it waits.
  void IsOfThisThread();

  void Post(CallKey key);
  // What was posted, in its order, but not more than so many.
  std::vector<CallKey> Take(size_t most = SIZE_MAX);
  bool empty() const;

 private:
  mutable base::Mutex mutex_;
  int wake_ = -1;
  bool woken_ = false;
  std::thread::id thread_;
  std::deque<CallKey> posted_;
};

}  // namespace linchpin::rpc
