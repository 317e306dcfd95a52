// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/process.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace linchpin::base {
namespace {

// In children, because neither can be taken back.
TEST(Process, LeavesNoCoreDump) {
  const auto check = [] {
    KeepMemoryPrivate();
    rlimit limit{};
    getrlimit(RLIMIT_CORE, &limit);
    bool good = limit.rlim_cur == 0 && limit.rlim_max == 0;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    good = good && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
#endif
    _exit(good ? 0 : 1);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

TEST(Process, MayOpenWhatTheHardLimitAllows) {
  const auto check = [] {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &limit);
    RaiseOpenFiles();
    getrlimit(RLIMIT_NOFILE, &limit);
    _exit(limit.rlim_cur == limit.rlim_max && limit.rlim_cur > 64 ? 0 : 1);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace linchpin::base
