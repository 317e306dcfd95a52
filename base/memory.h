// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a program that runs for months on every node asks of its allocator.
#pragma once

namespace linchpin::base {

// Few arenas, and thresholds that stay as they are: by default each thread may have an arena of its
// own, and one large block that was freed makes all later ones of its size be kept. Call at start.
void UseLittleMemory();

// Gives the kernel back what is free: after a burst, since nothing else does it for the middle of
// the heap. Milliseconds; any thread.
void GiveMemoryBack();

}  // namespace linchpin::base
