// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

namespace linchpin::base {
namespace {

class KernelRandom final : public Random {
 public:
  void Fill(void* out, size_t size) override {
    auto* bytes = static_cast<unsigned char*>(out);
    while (size > 0) {
      const ssize_t got = getrandom(bytes, size, 0);
      if (got < 0) {
        if (errno == EINTR) continue;
        std::abort();  // no randomness: nothing that follows would be safe
      }
      bytes += got;
      size -= static_cast<size_t>(got);
    }
  }
};

}  // namespace

Random& SystemRandom() {
  static KernelRandom* const random = new KernelRandom;
  return *random;
}

std::string RandomBytes(Random& random, size_t size) {
  std::string bytes(size, '\0');
  random.Fill(bytes.data(), bytes.size());
  return bytes;
}

uint64_t RandomUint64(Random& random) {
  uint64_t number = 0;
  random.Fill(&number, sizeof(number));
  return number;
}

double RandomFraction(Random& random) {
  return static_cast<double>(RandomUint64(random) >> 11) * 0x1.0p-53;
}

}  // namespace linchpin::base
