// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What libFuzzer calls; compiled once a target.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const linchpin::fuzz::Target& target = linchpin::fuzz::Targets().at(LINCHPIN_FUZZ_TARGET);
  target(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
