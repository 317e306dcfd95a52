// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A heap for secrets: pages that are never written to swap and never part of a dump, between guard
// pages, wiped as they are given back.
#pragma once

#include <cstddef>

#include "absl/status/status.h"

namespace linchpin::x509 {

// From now on the scalars of private keys (those that OpenSSL makes and reads, and what it computes
// from them while it signs) and every short SecretBytes live there. Call once, at the start of a
// program, before its first key; a library (sdk/) leaves it to the program. Without it they are on
// the ordinary heap, wiped all the same.
//
// FAILED_PRECONDITION: the heap is in use, but RLIMIT_MEMLOCK does not let the kernel lock it; the
// text says what to raise. INTERNAL: the ordinary heap stays in use.
absl::Status UseLockedHeap();

// Its size: reserved, but resident only as it is touched. A key takes 64 bytes, and OpenSSL makes
// none once it is full: there is room for 65,000.
constexpr size_t kLockedHeapBytes = 4 * 1024 * 1024;

// At most this much of a secret is put there, and only while half of it is free: room for keys
// goes before room for anything else.
constexpr size_t kMostLockedBytes = 4096;

}  // namespace linchpin::x509
