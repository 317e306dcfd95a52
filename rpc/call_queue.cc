// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/call_queue.h"

namespace linchpin::rpc {

CallQueue::CallQueue() {
  thread_ = std::thread([this] {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
      const Told told = *static_cast<const Told*>(tag);
      told(ok);
    }
  });
}

CallQueue::~CallQueue() {
  queue_.Shutdown();
  thread_.join();
}

}  // namespace linchpin::rpc
