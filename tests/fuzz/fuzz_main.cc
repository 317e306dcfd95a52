// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What libFuzzer calls; compiled once a target.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "gtest/gtest.h"
#include "tests/fuzz/message_mutator.h"
#include "tests/fuzz/targets.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace linchpin::fuzz {
namespace {

const Target& ThisTarget() {
  static const Target& target = Targets().at(LINCHPIN_FUZZ_TARGET);
  return target;
}

// Null: the bytes are none.
std::unique_ptr<google::protobuf::Message> Parse(const uint8_t* data, size_t size) {
  std::unique_ptr<google::protobuf::Message> message(ThisTarget().shape->New());
  if (!message->ParseFromArray(data, static_cast<int>(size))) return nullptr;
  return message;
}

// The new size; 0: it would not fit.
size_t Write(const google::protobuf::Message& message, uint8_t* data, size_t max_size) {
  const std::string bytes = message.SerializeAsString();
  if (bytes.size() > max_size) return 0;
  std::memcpy(data, bytes.data(), bytes.size());
  return bytes.size();
}

}  // namespace
}  // namespace linchpin::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  ::testing::FLAGS_gtest_break_on_failure = true;  // the worlds of the tests expect things, too
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  linchpin::fuzz::ThisTarget()(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  linchpin::test::SeededRandom random(seed);
  if (linchpin::fuzz::ThisTarget().shape == nullptr || random.OneIn(16)) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  const auto message = linchpin::fuzz::Parse(data, size);
  if (message == nullptr) return LLVMFuzzerMutate(data, size, max_size);
  for (uint64_t changes = 1 + random.Below(4); changes > 0; --changes) {
    linchpin::fuzz::MutateMessage(random, LLVMFuzzerMutate, message.get());
  }
  return linchpin::fuzz::Write(*message, data, max_size);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data1, size_t size1,
                                            const uint8_t* data2, size_t size2, uint8_t* out,
                                            size_t max_size, unsigned) {
  if (linchpin::fuzz::ThisTarget().shape == nullptr) return 0;
  const auto one = linchpin::fuzz::Parse(data1, size1);
  const auto two = linchpin::fuzz::Parse(data2, size2);
  if (one == nullptr || two == nullptr) return 0;
  one->MergeFrom(*two);
  return linchpin::fuzz::Write(*one, out, max_size);
}
