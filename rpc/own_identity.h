// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The context that this process shows and judges with, swapped as a whole.
#pragma once

#include <memory>

#include "base/mutex.h"
#include "trust/mtls_context.h"

namespace linchpin::rpc {

// Any thread. Holders take a snapshot a handshake.
class OwnIdentity {
 public:
  std::shared_ptr<const trust::MtlsContext> Get() const {
    base::MutexLock lock(mutex_);
    return context_;
  }
  void Set(std::shared_ptr<const trust::MtlsContext> context) {
    base::MutexLock lock(mutex_);
    context_ = std::move(context);
  }

 private:
  mutable base::Mutex mutex_;
  std::shared_ptr<const trust::MtlsContext> context_;  // null before the first
};

}  // namespace linchpin::rpc
