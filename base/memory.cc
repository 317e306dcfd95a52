// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/memory.h"

#include <malloc.h>

namespace linchpin::base {
namespace {

constexpr int kArenas = 2;
constexpr int kThreshold = 128 * 1024;  // glibc's own first value

}  // namespace

void UseLittleMemory() {
  mallopt(M_ARENA_MAX, kArenas);
  mallopt(M_MMAP_THRESHOLD, kThreshold);
  mallopt(M_TRIM_THRESHOLD, kThreshold);
}

void GiveMemoryBack() { malloc_trim(0); }

}  // namespace linchpin::base
