// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Changes protobuf messages field by field: changed bytes seldom parse, and then nothing behind the
// parser is reached.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "google/protobuf/message.h"
#include "tests/support/seeded_random.h"

namespace linchpin::fuzz {

// As LLVMFuzzerMutate: changes `size` of at most `most` bytes, returns the new size.
using MutateBytes = size_t (*)(uint8_t* bytes, size_t size, size_t most);

// One small change of one field of `message` or of a message in it. The result serializes to what
// parses again: strings stay UTF-8.
void MutateMessage(test::SeededRandom& random, MutateBytes mutate_bytes,
                   google::protobuf::Message* message);

}  // namespace linchpin::fuzz
