// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// std::mutex under the names this code uses. (Debian's abseil is not built for ThreadSanitizer, so
// absl::Mutex would drown it in false reports.)
#pragma once

#include <condition_variable>
#include <mutex>

namespace linchpin::base {

using Mutex = std::mutex;
using MutexLock = std::unique_lock<std::mutex>;
using CondVar = std::condition_variable;

}  // namespace linchpin::base
