// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/locked_heap.h"

#include <openssl/crypto.h>
#include <sys/resource.h>

#include "absl/strings/str_cat.h"

namespace linchpin::x509 {
namespace {

constexpr size_t kSmallestPiece = 64;  // of which a P-256 scalar takes one

// What CRYPTO_secure_malloc_init() answers.
constexpr int kLocked = 1;
constexpr int kNotLocked = 2;

}  // namespace

absl::Status UseLockedHeap() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_MEMLOCK, &limit);
  }
  switch (CRYPTO_secure_malloc_init(kLockedHeapBytes, kSmallestPiece)) {
    case kLocked:
      return absl::OkStatus();
    case kNotLocked:
      return absl::FailedPreconditionError(
          absl::StrCat("keys may be written to swap: the kernel locks ", limit.rlim_max / 1024,
                       " KiB of this process (RLIMIT_MEMLOCK), ", kLockedHeapBytes / 1024,
                       " KiB are needed; raise it (LimitMEMLOCK in a systemd unit, ulimit -l)"));
    default:
      return absl::InternalError("OpenSSL cannot set up its heap for secrets");
  }
}

}  // namespace linchpin::x509
