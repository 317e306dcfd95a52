// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/process.h"

#include <sys/prctl.h>
#include <sys/resource.h>

namespace linchpin::base {

void LeaveNoCore() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
}

void KeepMemoryPrivate() {
  LeaveNoCore();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  // Also where dumps go to a pipe, which no limit stops. A leak checker must attach to its process.
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

void RaiseOpenFiles() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace linchpin::base
